"""Seeds to broken inputs: bytes, words, cells, JSON values and ZIP members changed at random.

All of it follows from the generator that is passed in, so that an input can be made again.
"""

import io
import json
import random
import re
import stat
import zipfile
from collections.abc import Callable, Sequence

Mutate = Callable[[bytes, random.Random], bytes]

NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Where the integers of file formats turn over."""

WORDS = (
    *("", "0", "-0", "-1", "1e-320", "1e308", "1e999", "nan", "-inf", "0x10", "1_0", "٣", "½"),
    *("9" * 400, "9" * 5000, "true", "null", "[]", "{}", '"', "'", '""', "\\", ",", ";", "\t"),
    *("\n", "\r", "\0", "\ufeff", "\u202e", "\\ud800", "\ud7ff", "é" * 300, "A" * 140_000),
    *("=1+1", "@SUM(A1)", "<script>alert(1)</script>", "&lol;", "&#0;", "&#x110000;", "<!--"),
    *("../../../../etc/passwd", "/dev/zero", "C:\\evil", "//host/share/x", "~root", "file:///x"),
    *("[" * 20_000, '{"a":' * 20_000, "<a>" * 20_000, "a.b." * 2000, "2026-13-45", "0001-01-01"),
    '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
    '<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><l>&x;</l>',
)
"""What a hurried export, another country's office program or somebody with ill will writes."""

VALUES = (
    *(None, True, False, 0, -1, 1.5, 1e308, -1e308, 10**400, float("nan"), float("inf")),
    *("", "x", "\ud800", "9" * 400, "../x", "combined", "constant", [], {}, [[]], [None], [{}]),
    *([0, 0], [1, "x"], {"a": 1}, {"type": "Polygon"}, [[[0, 0], [1, 1], [0, 0]]], ["gbt"]),
)
"""What may stand where JSON was expected to hold something else."""

TOKEN = re.compile(rb"[\w.+-]+|\"[^\"\n]*\"")


def in_bytes(data: bytes, rng: random.Random) -> bytes:
    """Up to eight changes of bytes, most of them near the start, where headers are."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        _change(out, rng)
    return bytes(out)


def _change(out: bytearray, rng: random.Random) -> None:
    near = min(len(out), rng.choice((64, 600, len(out))))
    at = rng.randrange(near + 1)
    if rng.random() < 0.2:
        at = len(out) - at
    length = rng.choice((1, 2, 4, 16, 300))
    match rng.randrange(8):
        case 0 if at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        case 1:
            size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
            number = rng.choice(NUMBERS) + rng.choice((-1, 0, 0, 1))
            new = (number % 256**size).to_bytes(size, order)
            out[at : at + size] = new
        case 2:
            del out[at : at + length]
        case 3:
            out[at:at] = rng.randbytes(length)
        case 4:
            out[at : at + length] = rng.randbytes(length)
        case 5:
            out[at:at] = out[at : at + length] * rng.choice((1, 2, 100))
        case 6:
            other = rng.randrange(len(out) + 1)
            out[at : at + length] = out[other : other + length]
        case _:
            del out[rng.randrange(len(out) + 1) :]


def in_words(data: bytes, rng: random.Random) -> bytes:
    """Words and numbers of a text replaced, lines dropped and doubled, sometimes bytes changed."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        found = list(TOKEN.finditer(data))
        roll = rng.random()
        if roll < 0.6 and found:
            start, end = rng.choice(found).span()
            if rng.random() < 0.3:
                start = end  # beside the word, which stays
            new = rng.choice(WORDS).encode("utf-8", "surrogatepass")
            if rng.random() < 0.3:
                new = rng.choice(found)[0]
            data = data[:start] + new + data[end:]
        elif roll < 0.8:
            lines = data.split(b"\n")
            at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[at : at + rng.choice((0, 1))] = [lines[other]] * rng.choice((0, 1, 50))
            data = b"\n".join(lines)
        elif roll < 0.95:
            data = in_bytes(data, rng)
        else:
            data = data.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-8-sig")))
    return data


def in_json(data: bytes, rng: random.Random) -> bytes:
    """Values of a JSON text replaced, dropped or moved; a quarter of the time words of it."""
    if rng.random() < 0.25:
        return in_words(data, rng)
    document = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        holders = [found for found in _holders(document) if found]
        if not holders:
            break
        holder = rng.choice(holders)
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        match rng.randrange(6):
            case 0:
                del holder[key]
            case 1:
                other = rng.choice(holders)
                value = rng.choice(list(other.values() if isinstance(other, dict) else other))
                holder[key] = json.loads(json.dumps(value))  # a copy, so that there are no circles
            case 2 if isinstance(holder, dict):
                holder[rng.choice(("x", "of", "type", "calibration"))] = holder.pop(key)
            case _:
                holder[key] = rng.choice(VALUES)
    return json.dumps(document, ensure_ascii=rng.random() < 0.9).encode("utf-8", "surrogatepass")


def _holders(value: object) -> list[dict | list]:
    if not isinstance(value, dict | list):
        return []
    inside = value.values() if isinstance(value, dict) else value
    return [value, *(found for item in inside for found in _holders(item))]


MEMBERS = (
    *("../../evil.png", "/tmp/evil.png", "C:\\evil.png", "..\\..\\evil.png", "a/../../b.png"),
    *("a\0b.png", "\u202egnp.exe", "CON.png", "x" * 5000 + ".png", "", ".", "é.png", "a/b/c.png"),
    *("<img src=x onerror=alert(1)>.png", "=cmd|' /C calc'!A0.png", "\x1b[2J.png", "same.png"),
)


def in_zip(data: bytes, rng: random.Random) -> bytes:
    """Another ZIP of the members with forged names, sizes, links and bombs; or bytes changed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        held = [archive.read(info) for info in archive.infolist()]
    if rng.random() < 0.4:
        return in_bytes(data, rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice((0, 8, 12, 14)), allowZip64=True) as archive:
        for _ in range(rng.choice((0, 1, 2, 4))):
            archive.writestr(_member(rng), _content(held, rng))
    made = buffer.getvalue()
    return in_bytes(made, rng) if rng.random() < 0.4 else made


def _member(rng: random.Random) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x", (2026, 1, 1, 0, 0, 0))
    info.filename = rng.choice(MEMBERS)
    info.compress_type = rng.choice((0, 8, 12, 14))
    if rng.random() < 0.2:
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def _content(held: Sequence[bytes], rng: random.Random) -> bytes:
    match rng.randrange(6):
        case 0:
            return b"/etc/passwd"
        case 1:
            return rng.choice(held)[:64] + bytes(rng.choice((1000, 3_000_000)))
        case 2:
            inner = io.BytesIO()
            with zipfile.ZipFile(inner, "w", 8) as archive:
                archive.writestr("a.png", bytes(1000))
            return inner.getvalue()
        case 3:
            return in_bytes(rng.choice(held), rng)
        case _:
            return rng.choice(held)
