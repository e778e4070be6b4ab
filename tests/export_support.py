"""Results made by hand, for the tests of what is written of them."""

from dataclasses import replace

import numpy as np

from cellularity_core.conventions import CHANNELS, METHODS
from cellularity_core.masks import draw_discs
from cellularity_core.results import Nuclei, PatchResult, Quality, Score


def result(image: str = "a.png", **changes: object) -> PatchResult:
    """A result with one nucleus of each class."""
    nuclei = Nuclei(
        xy=np.array([[1.5, 2.25], [30.126, 4.0], [7.0, 63.0]], np.float32),
        label=np.array([0, 1, 2], np.int8),
        probability=np.array([0.5, 0.75, 0.1], np.float32),
        sigma=np.array([3.0, 3.0, 4.0], np.float32),
    )
    whole = PatchResult(
        image=image,
        width=64,
        height=80,
        mpp=0.5,
        sha256="ab" * 32,
        scores={
            "gbt": Score(1 / 3, 0.1, 0.6000000001),
            "cascade": Score(0.25, 0.125, 0.5),
        },
        nuclei=nuclei,
        features=np.arange(81) / 7.0,
        contributions=np.zeros(81),
        base_value=0.2,
        quality=Quality(("out-of-focus", "no-colour"), reliable=False),
        model_set="tested",
        model_sha256="cd" * 32,
        scale="weak TC",
        views=4,
        notes=("turned", "page-1-of-2"),
        seconds={"read": 0.0123456789},
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


EMPTY = result(
    scores={method: Score(None, None, None) for method in METHODS},
    nuclei=Nuclei(
        xy=np.empty((0, 2), np.float32),
        label=np.empty(0, np.int8),
        probability=np.empty(0, np.float32),
        sigma=np.empty(0, np.float32),
    ),
    quality=Quality(("no-tissue",), reliable=False),
)


def crowded(count: int = 300, side: int = 512) -> PatchResult:
    """A result with maps: `count` nuclei of all classes, some touching, some with a hole."""
    rng = np.random.default_rng(7)
    xy = rng.uniform(0, side - 1, (count, 2)).astype(np.float32)
    label = (np.arange(count) % 3).astype(np.int8)
    maps = np.zeros((len(CHANNELS), side, side), np.float16)
    for k in range(3):
        maps[k, draw_discs(xy[label == k], (side, side), 15)] = 0.6 + 0.1 * k
        maps[k, draw_discs(xy[label == k][::5], (side, side), 5)] = 0.1
    return result(
        width=side,
        height=side,
        scores={method: Score(0.4, 0.2, 0.7) for method in METHODS},
        quality=Quality(),
        nuclei=Nuclei(xy, label, np.full(count, 0.75, np.float32), np.full(count, 4.0, np.float32)),
        contributions=np.linspace(-0.1, 0.2, 81),
        activations={"gbt": maps, "cascade": maps},
    )
