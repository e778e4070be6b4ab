"""The tumour bed of a slide: drawn or imported, what it comes to, and the way to the RCB."""

import json
from collections.abc import Sequence
from typing import Final

import pandas as pd
import shapely
import streamlit as st
from shapely.geometry.base import BaseGeometry

from cellularity_core.conventions import CLASSES, COMBINED, WEAK_SCALE
from cellularity_core.errors import SlideError
from cellularity_core.slides.region import Outlines, outlines_in
from cellularity_core.slides.sampling import LEVEL as SHARE
from cellularity_core.slides.summary import Area, MeanError, guessed, joined, verdict
from pages.parts import state
from pages.parts.intake import forget_upload
from pages.parts.markdown import plain
from pages.parts.slide_run import Run, Sums
from pages.parts.slide_source import Desk, Part
from pages.parts.words import METHOD_NAMES, counted, percent, scale_name

LEVEL: Final = f"{100 * SHARE:.0f} %"
TISSUE: Final = "Whole tissue"
BED: Final = "Tumour bed"
MEASURE: Final = "Measure"
NOTHING: Final = "–"

RECALIBRATE: Final = (
    "The scores are on the scale weak TC, which is not a pathologist's, so that their mean cannot "
    "enter the Residual Cancer Burden. Make a scale of your own first: `cellularity recalibrate` "
    "with patches that you have scored."
)

NO_BED: Final = (
    "Draw or import the tumour bed to carry its mean to the Residual Cancer Burden; the whole "
    "tissue is not the bed."
)

EMPTY_BED: Final = "There is no tissue within the outline; remove the bed and draw it anew."

INTERVAL_HELP: Final = (
    f"{LEVEL} interval for the error of the models, where all tiles err to the same side as on a "
    "slide whose stain misleads them, and for tiles that are not fit to score, taken to be like "
    "those that are. Where too few are fit, there is none."
)


def add_outline(own: Desk, run: Run, points: Sequence[tuple[float, float]]) -> None:
    """Join an outline drawn by hand to the bed."""
    ring = [list(point) for point in (*points, points[0])]
    _join(own, run, json.dumps({"type": "Polygon", "coordinates": [ring]}).encode(), "your outline")


def import_outlines(own: Desk, run: Run, text: bytes, name: str) -> None:
    """Join the outlines of a file to the bed; they are kept for the page to tell."""
    if found := _join(own, run, text, name):
        own.imported.setdefault(run.source.key, []).append(found)


def _join(own: Desk, run: Run, text: bytes, name: str) -> Outlines | None:
    """Join the polygons in GeoJSON to the bed; why they cannot be is kept for the page."""
    try:
        found = outlines_in(text, name, run.slide.width, run.slide.height)
    except SlideError as error:
        own.problems.append(str(error))
        return None
    before, more = own.beds.get(run.source.key), found.region
    own.beds[run.source.key] = more if before is None else shapely.union(before, more)
    return found


def bed_controls(own: Desk, run: Run) -> None:
    """Import the bed from QuPath, or remove it; a doubt about it is never folded away."""
    key = run.source.key
    bed = own.beds.get(key)
    for found in own.imported.get(key, []):
        for note in found.notes(run.slide.name):
            st.warning(plain(note), icon=":material/warning:")
    with st.expander("Tumour bed", icon=":material/polyline:", expanded=bed is None):
        st.markdown(
            "Draw it on the slide above, or import it. Until there is one, the whole tissue counts."
        )
        box = f"{state.SLIDE_BED}.{key[:16]}.{own.taken}"

        def take() -> None:
            if file := st.session_state.get(box):
                import_outlines(own, run, file.getvalue(), file.name)
                forget_upload(file)
                own.taken += 1

        st.file_uploader(
            "Outline as GeoJSON, as QuPath exports an annotation",
            type=["geojson", "json"],
            key=box,
            on_change=take,
        )
        for found in own.imported.get(key, []):
            size = _mm2(_outlined(run, found.region))
            what = f"{found.file}: {counted(found.count, 'outline')} of {found.kind}, {size}."
            st.markdown(f"Imported {plain(what)}")
        if bed is not None:
            st.caption("What you draw or import next is joined to this bed.")

            def remove() -> None:
                own.beds.pop(key, None)
                own.imported.pop(key, None)

            st.button(
                "Remove the bed",
                key=f"{state.SLIDE_BED}.remove",
                on_click=remove,
                help="What was drawn or imported on this slide.",
            )


def means(run: Run, found: Sums, bed: BaseGeometry | None, method: str) -> None:
    """The mean of a method, and the table of all of them."""
    area = found.whole if found.bed is None else found.bed
    name = TISSUE if bed is None else BED
    mean, error = area.mean(method), area.error(method, _shared(run, method))
    value, size, nuclei = st.columns(3)
    value.metric(
        f"{name}: mean cellularity",
        percent(mean) if mean is not None else "no tissue fit to score",
        help=INTERVAL_HELP,
    )
    if mean is not None and error is not None:
        low, high = (f"{100 * end:.0f}" for end in error.around(mean))
        value.caption(f"{LEVEL} interval {low} to {high} % · {METHOD_NAMES[method]}")
        value.caption(_split(error))
    size.metric(f"{name}: area", _mm2(area.tissue_um2 if bed is None else _outlined(run, bed)))
    size.caption(f"Tissue {_mm2(area.tissue_um2)}, of it fit to score {_mm2(area.fit_um2)}")
    nuclei.metric(f"{name}: malignant nuclei", f"{area.counts['malignant']:,.0f}")
    others = ", ".join(f"{area.counts[kind]:,.0f} {kind}" for kind in CLASSES[:2])
    nuclei.caption(f"{others} · as the models see them")
    areas = {TISSUE: found.whole} | ({} if found.bed is None else {BED: found.bed})
    st.dataframe(
        pd.DataFrame({name: _told_of(run, area) for name, area in areas.items()})
        .rename_axis(MEASURE)
        .reset_index(),
        hide_index=True,
        key=f"{state.SLIDE_TABLE}.{len(areas)}",
        height="content",
    )
    st.caption(
        f"Means by area of tissue, with their {LEVEL} intervals. Scale: "
        f"{plain(scale_name(run.scoring.model_set.scale))}. Model set "
        f"{plain(run.scoring.model_set.name)}, checksum `{run.scoring.model_set.sha256[:12]}`."
    )


def _split(error: MeanError) -> str:
    """What an interval is made of, in points of cellularity, per cent."""
    below, above, rest = (round(100 * one) for one in (error.below, error.above, error.sampled))
    models = f"Models' error: {below} points below the mean, {above} above"
    if error.sampled == 0:
        return f"{models}; every tile is fit to score."
    return f"{models}; tiles not fit to score: {rest or 'less than 1'} either way."


def _outlined(run: Run, bed: BaseGeometry) -> float:
    return float(bed.area) * run.slide.mpp**2


def _mm2(um2: float) -> str:
    return f"{um2 / 1e6:.2f} mm²"


def _told_of(run: Run, area: Area) -> dict[str, str]:
    """Everything that is said of an area: one below the other, since that fits any screen."""
    told = {METHOD_NAMES[method]: _told(run, area, method) for method in run.scoring.methods}
    told |= {"Tissue": _mm2(area.tissue_um2), "Tiles": f"{area.tiles:,}"}
    return told | {f"{kind.capitalize()} nuclei per mm²": _per_mm2(area, kind) for kind in CLASSES}


def _per_mm2(area: Area, kind: str) -> str:
    mm2 = area.tissue_um2 / 1e6
    return f"{area.counts[kind] / mm2:,.0f}" if mm2 else NOTHING


def _limits(run: Run, area: Area, method: str) -> tuple[float, float] | None:
    return area.interval(method, _shared(run, method))


def _shared(run: Run, method: str) -> float:
    return run.scoring.model_set.interval(method).shared


def _told(run: Run, area: Area, method: str) -> str:
    mean, interval = area.mean(method), _limits(run, area, method)
    if mean is None:
        return NOTHING
    if interval is None:
        return f"{100 * mean:.0f} %"
    return f"{100 * mean:.0f} % ({100 * interval[0]:.0f}–{100 * interval[1]:.0f})"


def case_of_slides(own: Desk, run: Run, found: Sums, method: str) -> list[Part]:
    """Let slides be counted as one case, averaged by area; returns what counts, or this slide."""
    key, models = run.sha256, run.scoring.model_set
    of_bed = NO_BED if found.bed is None else verdict(found.bed)
    if found.bed is not None and found.bed.tissue_um2 == 0:
        of_bed = EMPTY_BED
    part = Part(
        run.source.name,
        models.sha256,
        found.whole if found.bed is None else found.bed,
        verdict(found.whole) or of_bed,
    )
    for other in [k for k, one in own.parts.items() if one.models != models.sha256]:
        del own.parts[other]  # scores of another model set are no part of a mean
    if key in own.parts:
        own.parts[key] = part
    told = f": {counted(len(own.parts), 'slide')} counted" if own.parts else " on several slides"
    with st.expander(f"Case{told}", icon=":material/folder_copy:", expanded=bool(own.parts)):
        st.markdown(
            "A case with its bed on several slides: count each of them here. The mean weighs "
            "every slide by its area of tissue."
        )

        def count() -> None:
            if own.parts.pop(key, None) is None:
                own.parts[key] = part

        left, right = st.columns(2)
        over = TISSUE.lower() if found.bed is None else BED.lower()
        label = "Count this slide no more" if key in own.parts else f"Count this slide ({over})"
        left.button(label, key=f"{state.SLIDE_CASE}.count", on_click=count, width="stretch")
        right.button(
            "Begin another case",
            key=f"{state.SLIDE_CASE}.clear",
            on_click=own.parts.clear,
            disabled=not own.parts,
            width="stretch",
        )
        if not own.parts:
            return [part]
        whole = joined(one.area for one in own.parts.values())
        rows = [(one.name, one.area) for one in own.parts.values()] + [("All slides", whole)]
        st.dataframe(
            pd.DataFrame(
                {
                    "Slide": name,
                    METHOD_NAMES[method]: _told(run, area, method),
                    "Tissue": _mm2(area.tissue_um2),
                    "Tiles": area.tiles,
                }
                for name, area in rows
            ),
            hide_index=True,
            key=f"{state.SLIDE_CASE}.table.{len(rows)}",
        )
        mean = whole.mean(method)
        if mean is not None:
            st.markdown(
                f"Mean of the case, {METHOD_NAMES[method]}: **{_told(run, whole, method)}**"
            )
        return list(own.parts.values())


def to_rcb(own: Desk, run: Run, parts: Sequence[Part], method: str) -> None:
    """Carry the mean of a case to the page RCB, or say why it may not be."""
    names = " and ".join(part.name for part in parts)
    if own.parts and run.sha256 not in own.parts:
        st.info(
            f"{plain(run.source.name)} is not counted in the case of {plain(names)}: count "
            "it, or begin another case.",
            icon=":material/block:",
        )
        return
    area = joined(part.area for part in parts)
    mean, interval = area.mean(method), _limits(run, area, method)
    if run.scoring.model_set.scale == WEAK_SCALE:
        st.info(RECALIBRATE, icon=":material/block:")
        return
    if refused := next((part for part in parts if part.why_not), None):
        at = f"{plain(refused.name)}: " if len(parts) > 1 else ""
        st.info(f"{at}{refused.why_not}", icon=":material/block:")
        return
    if mean is None:
        return
    if interval is None:
        st.info(
            "Too few tiles are fit to score to tell how far the mean may be off, so it is not "
            "carried to the Residual Cancer Burden.",
            icon=":material/block:",
        )
        return
    value = round(100 * mean, 1)
    low, high = (100 * end for end in interval)
    pressed = st.button(
        f"Use {value:g} % on the page RCB", key=state.SLIDE_RCB, icon=":material/calculate:"
    )
    st.caption(f"Of {plain(names)}")
    if pressed:
        st.session_state[state.RCB_CA] = value
        st.session_state[state.RCB_LOW] = min(value, round(low, 1))
        st.session_state[state.RCB_HIGH] = max(value, round(high, 1))
        by = run.scoring.model_set
        told = (
            f"Cellularity from {', '.join(part.name for part in parts)}: "
            f"{METHOD_NAMES[method]}, model set {by.name} ({by.sha256[:12]}), "
            f"scale {scale_name(by.scale)}."
        )
        if sentence := guessed(area):
            told += f" {sentence}"
        st.session_state[state.RCB_FROM] = (value, plain(told))
        st.switch_page("pages/rcb.py")


def first_method(run: Run) -> str:
    """The score to read first."""
    headline = run.scoring.model_set.headline or COMBINED
    return headline if headline in run.scoring.methods else run.scoring.methods[0]
