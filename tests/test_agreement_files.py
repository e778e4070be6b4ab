"""A table of ratings: what is read, what is counted, what is refused."""

import math
from pathlib import Path

import numpy as np
import pytest
from ratings_support import write

from cellularity_core.agreement import Rating, RatingTable, agreement_report
from cellularity_core.errors import DataError


def test_table_of_a_file(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.csv",
        "c1,Ann,0.25,p1,reader,",
        "c1,Ann,0.30,p1,reader,1",
        " c2 ,Ann,,p1,,0",
        "c1,gbt,.5,,model,",
        "c2,gbt,1e-1,,MODEL,",
        header="case_id,reader,score,patient_id,kind,repeat",
    )
    table = RatingTable.read(path)
    assert table.cases == ("c1", "c2")
    assert (table.readers, table.models) == (("Ann",), ("gbt",))
    assert table.patients == (("patient", "p1"), ("patient", "p1"))
    first = table.first_reads(("Ann", "gbt"))
    np.testing.assert_array_equal(first, [[0.25, 0.5], [np.nan, 0.1]])
    assert table.reads_of("Ann") == {"c1": [0.25, 0.30]}
    ann, gbt = table.counts()
    assert (ann.scored, ann.missing, ann.cannot_score, ann.repeats) == (1, 1, 0, 1)
    assert (gbt.scored, gbt.missing) == (2, 0)
    assert table.n_cases == 2


def test_per_cent_semicolons_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes("\ufeffCase_ID;Reader;Score;note\r\nc1;A;35;x\r\nc1;B;100;\r\n".encode())
    table = RatingTable.read(path, percent=True)
    assert [rating.score for rating in table.ratings] == [0.35, 1.0]
    assert table.ignored == ("note",)


def test_a_case_that_cannot_be_scored_is_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.csv",
        "c1,A,,yes,2026-03-31T14:05",
        "c2,A,0.5,no,2026-03-31T14:05:10+02:00",
        header="case_id,reader,score,cannot_score,read_at",
    )
    table = RatingTable.read(path)
    (count,) = table.counts()
    assert (count.scored, count.cannot_score, count.missing) == (1, 1, 0)
    assert agreement_report(table).n_cases_unscored == 1
    assert table.ratings[1].read_at.isoformat() == "2026-03-31T14:05:10+02:00"


def test_repeats_without_a_first_read_are_refused(tmp_path: Path) -> None:
    """They are never taken for first reads, be it of one reader or of all."""
    header = "case_id,reader,score,kind,repeat"
    path = tmp_path / "r.csv"
    write(path, "c1,A,0.1,reader,0", "c1,B,0.3,reader,1", "c2,B,0.4,reader,1", header=header)
    with pytest.raises(DataError) as error:
        RatingTable.read(path)
    assert 'line 3: reader "B" has repeat 1 here and no first read' in str(error.value)
    assert "number first reads 0" in str(error.value)
    write(path, "c1,A,0.1,reader,1", "c1,A,0.2,reader,2", "c1,gbt,0.4,model,", header=header)
    with pytest.raises(DataError, match='line 2: reader "A" has repeat 1 here'):
        RatingTable.read(path)
    write(path, "c1,A,,reader,", "c1,A,0.2,reader,1", "c2,A,0.2,reader,2", header=header)
    table = RatingTable.read(path)
    assert [rating.repeat for rating in table.ratings] == [0, 1, 2]
    assert table.readers == ()


@pytest.mark.parametrize(
    ("line", "header", "said"),
    [
        ("c2,A,1.01", None, "line 4: the score 1.01 is outside 0 to 1; for scores in per cent"),
        ("c2,A,-0.01", None, "line 4: the score -0.01 is outside 0 to 1"),
        ("c2,A,high", None, 'line 4: the score "high" is not a number'),
        ("c2,A,nan", None, 'line 4: the score "nan" is not a number'),
        ("c2,A,inf", None, 'line 4: the score "inf" is not a number'),
        ("c2,A,1_0", None, 'line 4: the score "1_0" is not a number'),
        ("c2,A,35 %", None, 'line 4: the score "35 %" is not a number'),
        ('c2,A,"0,3"', None, 'line 4: the score "0,3" is not a number; write it with a point'),
        ("c1,A,0.5", None, 'line 4: reader "A" has a read of case "c1" already, at line 2'),
        (",A,0.5", None, "line 4: case_id is empty"),
        ("c2,,0.5", None, "line 4: reader is empty"),
        ("c2,A,0.5,0.6", None, "line 4: there are more cells than columns"),
        ("c2,A,0.5,human", "kind", 'line 4: kind is "human"; expected reader or model'),
        ("c2,A,0.5,model", "kind", 'line 4: "A" is a model here and a reader at line 2'),
        ("c2,A,0.5,-1", "repeat", 'line 4: repeat is "-1"; expected 0, 1, 2'),
        ("c2,A,0.5,often", "repeat", 'line 4: repeat is "often"'),
        ("c1,C,0.5,q", "patient_id", 'line 4: case "c1" is of patient "q" here and of "x" at line'),
        ("c2,A,0.5,yes", "cannot_score", "line 4: a case that cannot be scored has a score"),
        ("c2,A,,maybe", "cannot_score", 'line 4: cannot_score is "maybe"; expected yes or no'),
        ("c2,A,0.5,noon", "read_at", 'line 4: read_at is "noon"; expected a date and time'),
        ('c2,A,"0.5', None, "not CSV"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(
    tmp_path: Path, line: str, header: str | None, said: str
) -> None:
    columns = "case_id,reader,score" + (f",{header}" if header else "")
    good = {"kind": ",reader", "patient_id": ",x"}.get(header or "", "," if header else "")
    path = write(tmp_path / "r.csv", f"c1,A,0.1{good}", f"c1,B,0.2{good}", line, header=columns)
    with pytest.raises(DataError) as error:
        RatingTable.read(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert str(error.value).count("\n") == 0


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "c1,0.5", header="case_id,score")
    with pytest.raises(DataError, match="no column reader; expected case_id, reader, score and"):
        RatingTable.read(path)
    with pytest.raises(DataError, match="no read below the first line"):
        RatingTable.read(write(tmp_path / "r.csv"))
    with pytest.raises(DataError, match="names score twice"):
        RatingTable.read(write(tmp_path / "r.csv", "a,b,0,1", header="case_id,reader,score,Score"))
    path.write_bytes(b"\xff\xfe\x00\x9c")
    with pytest.raises(DataError, match="not UTF-8 text"):
        RatingTable.read(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="no column case_id, reader, score"):
        RatingTable.read(path)


def test_records_are_checked_like_lines() -> None:
    with pytest.raises(DataError, match=r"record 2: the score 1\.5 is outside 0 to 1"):
        RatingTable.from_ratings([Rating("a", "r", 0.5), Rating("b", "r", 1.5)])
    with pytest.raises(DataError, match="record 1: the score nan is outside"):
        RatingTable.from_ratings([Rating("a", "r", math.nan)])
    table = RatingTable.from_ratings([Rating("a", "r", 50), Rating("b", "r", 7)], percent=True)
    assert [rating.score for rating in table.ratings] == [0.5, 0.07]
