"""The report's part of the page: made at a click, then to be downloaded."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import streamlit as st

from cellularity_core.export import SOFTWARE, file_stem
from db import records
from db.session import snapshot
from pages.parts import access, state
from pages.parts.access import Identity
from pages.parts.agreement_data import Material
from pages.parts.agreement_source import Chosen, read_everyday, read_study
from pages.parts.agreement_stats import report_of
from pages.parts.markdown import plain
from pages.parts.progress import whole_work
from pages.parts.report_content import Content, content
from pages.parts.report_files import csv_archive, json_text
from pages.parts.report_pdf import pdf
from pages.parts.store import store

_MADE: Final = "agreement.report_made"


@dataclass(frozen=True, slots=True)
class Made:
    """A report as files, and what was on screen when it was made."""

    of: str
    told: Content
    pdf: bytes
    archive: bytes
    json: str


def report_section(chosen: Chosen) -> None:
    """Make the report of what is on screen, and offer its files."""
    st.markdown(
        "The report has the design, every statistic with its interval, the pictures, the models' "
        "checksum, the software's version, and the number and hash of the last event of the audit "
        "trail. They are noted outside the records as well, so that a trail cut off later shows."
    )
    if st.button("Make the report", key=state.REPORT_MAKE, type="primary"):
        identity = access.allow("agreement")
        with st.container():  # so that what follows keeps its place without progress
            st.session_state[_MADE] = make(chosen, identity)
    made: Made | None = st.session_state.get(_MADE)
    if made is None or made.of != _key(chosen.material):
        return
    told = made.told
    st.success(
        f"Made {told.made_at:%Y-%m-%d %H:%M:%S} UTC. Audit trail: event {told.head.sequence}, hash "
        f"`{told.head.hash}`."
    )
    st.caption(plain(told.note))
    stem = f"agreement-{file_stem(told.material.title)}"
    files = (
        ("Report (PDF)", made.pdf, "pdf", "application/pdf", state.REPORT_PDF),
        ("Readings and statistics (CSV)", made.archive, "zip", "application/zip", state.REPORT_CSV),
        ("Statistics (JSON)", made.json, "json", "application/json", state.REPORT_JSON),
    )
    for place, (label, data, ending, mime, key) in zip(st.columns(3), files, strict=True):
        place.download_button(
            label,
            data,
            file_name=f"{stem}.{ending}",
            mime=mime,
            key=key,
            on_click="ignore",
            width="stretch",
        )


def _key(material: Material) -> str:
    """Changes with anything that is on screen and in a report."""
    return repr((material.key, len(material.rows), material.n_amended, material.consensus))


def make(chosen: Chosen, identity: Identity) -> Made:
    """A report of the records as they are now; their head is noted outside them."""
    study = chosen.material.study
    with snapshot(store()) as db:
        if study is not None:
            material = read_study(db, records.study(db, study.id), identity)
            amendments = tuple(records.amendments(db, study.id))
            reason = f"report of study {study.id}"
        else:
            assert chosen.everyday is not None
            material = read_everyday(db, chosen.everyday, identity)
            amendments, reason = (), "report of everyday scores"
        known = {reader.name: reader for reader in records.all_readers(db)}
        head = records.record_head(db, reason=reason)
    raters = {rating.reader for rating in material.ratings if rating.kind == "reader"}
    unverified = {name for name in raters if name not in known or not known[name].has_account}
    report = report_of(material.key, material)
    with whole_work("Making the report", key="agreement.making") as tell:
        told = content(
            material,
            report,
            amendments=amendments,
            head=head,
            note=access.blinding_note(unverified=unverified),
            software=SOFTWARE,
            made_at=datetime.now(UTC).replace(microsecond=0),
            made_by=identity.name,
            progress=tell,
        )
        return Made(_key(chosen.material), told, pdf(told), csv_archive(told), json_text(told))
