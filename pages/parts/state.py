"""Everything a session remembers, in one place.

Widgets forget their value when their page is left. What must last is in the
`Case`, or in a widget with ``persist_state="session"`` and a key named here.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from cellularity_core.patch import Patch, Rejected
from cellularity_core.results import PatchResult
from pages.parts.parking import Parking

if TYPE_CHECKING:
    from pages.parts.viewer import Drawing

CASE: Final = "case"

READER: Final = "reader"
SCORE_FIRST: Final = "analyse.score_first"
MODEL_SET: Final = "analyse.model_set"
DEMO: Final = "analyse.demo"
CLEAR: Final = "analyse.clear"
DISMISS: Final = "analyse.dismiss"
PREVIOUS: Final = "analyse.previous"
NEXT: Final = "analyse.next"
COMMIT: Final = "analyse.commit"
FILES: Final = "analyse.files"
VIEWER: Final = "analyse.viewer"
WATERFALL: Final = "analyse.waterfall"
GAIN: Final = "analyse.gain"
DIFFERENCES: Final = "analyse.differences"
CARD_OF: Final = "models.set"
CARD_GAIN: Final = "models.gain"
SIZE: Final = "analyse.size"
SIZE_FOR_ALL: Final = "analyse.size_for_all"
SIZE_SET: Final = "analyse.size_set"
ASKED_SIZE: Final = "analyse.asked_size"
ASKED_SIZE_SET: Final = "analyse.asked_size_set"
COMPARE_SECOND: Final = "compare.second"
COMPARE_VIEW: Final = "compare.view"
COMPARE_A: Final = "compare.a"
COMPARE_B: Final = "compare.b"
COMPARE_UNRELIABLE: Final = "compare.unreliable"
COMPARE_TABLE: Final = "compare.table"
COMPARE_SCATTER: Final = "compare.scatter"
COMPARE_BLAND_ALTMAN: Final = "compare.bland_altman"
COMPARE_PANES: Final = "compare.panes"
COMPARE_VIEWER: Final = "compare.viewer"
COMPARE_WHY: Final = "compare.why"
STUDY: Final = "study"
"""Also the query parameter that names a study."""
STUDY_DRAFT: Final = "studies.draft"
STUDY_UPLOAD: Final = "studies.upload"
STUDY_FOLDER: Final = "studies.folder"
STUDY_CASES: Final = "studies.cases"
STUDY_CREATE: Final = "studies.create"
STUDY_SIZES: Final = "studies.sizes_checked"
DESK: Final = "read.desk"
AGREEMENT_SOURCE: Final = "agreement.source"
AGREEMENT_MODELS: Final = "agreement.models"
AGREEMENT_SEEN: Final = "agreement.seen"
AGREEMENT_SINCE: Final = "agreement.since"
AGREEMENT_OTHERS: Final = "agreement.others"
AGREEMENT_SECTION: Final = "agreement.section"
AGREEMENT_A: Final = "agreement.a"
AGREEMENT_B: Final = "agreement.b"
AGREEMENT_PERIOD: Final = "agreement.period"
AGREEMENT_BATCH: Final = "agreement.batch"
AGREEMENT_MEASURE: Final = "agreement.measure"
AGREEMENT_RATERS: Final = "agreement.raters"
AGREEMENT_ADVICE: Final = "agreement.advice"
AGREEMENT_ORDER: Final = "agreement.order"
AGREEMENT_CASE: Final = "agreement.case"
AGREEMENT_SCORE: Final = "agreement.score"
AGREEMENT_REASON: Final = "agreement.reason"
AGREEMENT_KEEP: Final = "agreement.keep"
SLIDES: Final = "slide.desk"
SLIDE: Final = "slide.chosen"
SLIDE_UPLOAD: Final = "slide.upload"
SLIDE_PATH: Final = "slide.path"
SLIDE_SIZE: Final = "slide.size"
SLIDE_SIZE_SET: Final = "slide.size_set"
SLIDE_SCORE: Final = "slide.score"
SLIDE_VIEW: Final = "slide.view"
SLIDE_METHOD: Final = "slide.method"
SLIDE_BED: Final = "slide.bed"
SLIDE_TABLE: Final = "slide.table"
SLIDE_CASE: Final = "slide.case"
SLIDE_RCB: Final = "slide.rcb"
SLIDE_HOT: Final = "slide.hot"
SLIDE_TILE: Final = "slide.tile"
SLIDE_FILES: Final = "slide.files"
RCB_CA: Final = "rcb.ca"
RCB_LOW: Final = "rcb.low"
RCB_HIGH: Final = "rcb.high"
RCB_FROM: Final = "rcb.from"
REPORT_MAKE: Final = "agreement.report"
REPORT_PDF: Final = "agreement.report_pdf"
REPORT_CSV: Final = "agreement.report_csv"
REPORT_JSON: Final = "agreement.report_json"


@dataclass(slots=True)
class Case:
    """The patches a session works on.

    Attributes
    ----------
    patches : dict of str to Patch
        By checksum of their pixels, in the order they came.
    problems : list of Rejected
        Every file that is not scored, with the reason.
    results : dict of str to PatchResult
        By checksum, without maps. Only what may be shown is ever in here.
    second : dict of str to PatchResult
        The same of a second model set, where one is compared.
    shown : set of str
        Checksums of patches whose model output this session has had on screen.
    unnamed : dict of str to tuple of str
        Fingerprints in 8 orientations, by checksum, of those that were shown while no reader
        was named.
    noted : set of (str, str)
        Readers and checksums of which the records know that the reader saw the models.
    current : str or None
        Checksum of the patch that is looked at.
    uploads : int
        How often files were taken in; part of the drop box's key, so that it is
        empty again afterwards.
    view : tuple or None
        What the viewer shows, and its drawing, which keeps zoom and switches as
        long as it is the same object.
    tables : int
        How many tables of patches there were; part of the table's key.
    parking : Parking
        Where the patches' pixels are kept.
    """

    patches: dict[str, Patch] = field(default_factory=dict)
    problems: list[Rejected] = field(default_factory=list)
    results: dict[str, PatchResult] = field(default_factory=dict)
    second: dict[str, PatchResult] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)
    unnamed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    noted: set[tuple[str, str]] = field(default_factory=set)
    current: str | None = None
    uploads: int = 0
    view: "tuple[Any, Drawing] | None" = None
    tables: int = 0
    parking: Parking = field(default_factory=Parking)

    @property
    def patch(self) -> Patch | None:
        """The patch that is looked at."""
        return self.patches.get(self.current or "")

    def add(self, patch: Patch) -> None:
        """Take in a patch; one with the same pixels is there already."""
        if patch.sha256 in self.patches:
            known = self.patches[patch.sha256].name
            if known != patch.name:
                reason = f"{patch.name} shows the same pixels as {known}, which is here already."
                self.problems.append(Rejected(patch.name, reason))
            return
        self.patches[patch.sha256] = patch
        self.current = self.current or patch.sha256

    def replace(self, patch: Patch) -> None:
        """Put a patch in the place of the one with the same pixels; its results are void."""
        self.patches[patch.sha256] = patch
        self.withhold([patch.sha256])

    def withhold(self, sha256s: Collection[str]) -> None:
        """Forget what the models say of these patches."""
        for sha256 in sha256s:
            self.results.pop(sha256, None)
            self.second.pop(sha256, None)

    def step(self, by: int) -> None:
        """Look at the patch `by` places further on, stopping at either end."""
        order = list(self.patches)
        if order:
            at = order.index(self.current) if self.current in self.patches else 0
            self.current = order[min(max(at + by, 0), len(order) - 1)]

    def clear(self) -> None:
        """Forget the patches, but not which of them were seen with their scores."""
        self.patches.clear()
        self.problems.clear()
        self.results.clear()
        self.second.clear()
        self.parking = Parking()
        self.current = None
        self.view = None


def case() -> Case:
    """The case of this session."""
    if CASE not in st.session_state:
        st.session_state[CASE] = Case()
    found: Case = st.session_state[CASE]
    return found


def sent(key: str, name: str) -> Any:
    """What the element `key` holds under `name`; None once its page was left.

    A browser that waits for the next page still shows the last one, and sends what is done there.
    """
    return getattr(st.session_state.get(key), name, None)


def upload_key() -> str:
    """Key of the drop box now on screen."""
    return f"analyse.upload.{case().uploads}"


def table_key() -> str:
    """Key of the table now on screen.

    A new one after a step away from a cell that was clicked: the browser would
    not report another click on that cell.
    """
    return f"analyse.table.{case().tables}"


def own_key(sha256: str, kind: str) -> str:
    """Key of the slider or the number in which a reader scores one patch."""
    return f"analyse.own.{kind}.{sha256[:16]}"
