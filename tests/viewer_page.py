"""A page with nothing but the viewer, run by `streamlit run`, and what is on it."""

import numpy as np
import streamlit as st

from cellularity_core.conventions import LYMPHOCYTE, MALIGNANT, NORMAL
from cellularity_core.results import Nuclei
from pages.parts.layers import Blobs, Layers, PackedMaps
from pages.parts.viewer import Drawing, Pane, drawing, viewer

WIDTH, HEIGHT, MPP = 240, 160, 0.5
TISSUE, DARK = (240, 225, 235), (40, 10, 60)

NUCLEI = (
    (22, 31, MALIGNANT, 0.93),
    (61, 24, MALIGNANT, 0.81),
    (130, 40, LYMPHOCYTE, 0.72),
    (201, 18, NORMAL, 0.64),
    (88, 97, MALIGNANT, 0.55),
    (170, 120, LYMPHOCYTE, 0.91),
    (35, 140, NORMAL, 0.87),
)
"""x, y, class and probability; a dark square on the patch is where each is."""


def pixels() -> np.ndarray:
    """An even tissue with a dark square of 5 x 5 pixels at each nucleus."""
    made = np.full((HEIGHT, WIDTH, 3), TISSUE, np.uint8)
    for x, y, *_ in NUCLEI:
        made[y - 2 : y + 3, x - 2 : x + 3] = DARK
    return made


def maps() -> np.ndarray:
    """Levels (4, H, W): a strong malignant field, a weaker one of lymphocytes, else background."""
    made = np.zeros((4, HEIGHT, WIDTH), np.uint8)
    made[MALIGNANT, 10:60, 10:80] = 230
    made[LYMPHOCYTE, 100:140, 150:220] = 150
    made[3] = 255 - made[:3].max(axis=0)
    return made


def shown(mirrored: bool = False) -> Drawing:
    """The bare patch, what was found, and a picture that covers the left half."""
    x, y, label, probability = (np.array(column) for column in zip(*NUCLEI, strict=True))
    nuclei = Nuclei(
        np.stack([x, y], axis=1).astype(np.float32),
        label.astype(np.int8),
        probability.astype(np.float32),
        np.full(len(x), 4, np.float32),
    )
    blobs = Blobs(
        x=np.array([22, 130, 100], np.float32),
        y=np.array([31, 40, 130], np.float32),
        radius=np.array([9, 7, 12], np.float32),
        response=np.array([0.2, 0.3, 0.45], np.float32),
        value=np.array([0.9, 0.6, 0.7], np.float32),
        label=np.array([2, 1, 0], np.int8),
    )
    layers = Layers({"gbt": PackedMaps.of(maps())}, {"gbt": blobs})
    overlay = np.zeros((16, 24, 4), np.uint8)
    overlay[:, :12] = (255, 0, 0, 255)
    panes = [
        Pane("Patch"),
        Pane("Found", layers, nuclei, "gbt"),
        Pane("Direct", overlay=overlay, overlay_name="Saliency"),
    ]
    return drawing(pixels()[:, ::-1] if mirrored else pixels(), MPP, panes)


if __name__ == "__main__":
    st.set_page_config(layout="wide")
    note = st.text_input("Note")
    viewer(shown(note == "mirrored"), key="viewer")
