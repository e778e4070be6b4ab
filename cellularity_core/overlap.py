"""Whether two pictures hold the same tissue though their edges differ.

A fingerprint knows a patch again as a whole. Who must not see the models' output of a
patch must not see that of a part of it either. So square pieces of one picture are looked
for in the other, in 8 orientations: at 8 um per pixel for places that may be it, and
there at 2 um per pixel to be sure.

Measured on the 124 patches of BRCA-M2C and UCSB: where 62 of them are looked for among all
others, the best of places correlates by at most 0.62 (a corner that is nearly all glass),
0.45 apart from it; where patches were cut on two edges (by 17 px to half of them), turned,
mirrored, blurred, brightened or saved as JPEG of quality 50, by 0.79 or more, and by 0.75
where they were resized by 3 % besides.

Below 40 um a side too few pixels are left to tell, and what cannot be told counts as the
same tissue: of 15 fields of 32 um 4 were found in patches of others, of 16 um all.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Fine = npt.NDArray[np.float32]

FINE_UM: Final = 2.0
"""um per pixel at which it is made sure: there nuclei make a picture of their own."""

PIECE: Final = 64
"""Side of a piece at `FINE_UM`: 128 um, so that half of a patch of 256 um is enough."""

LEAST: Final = 32
"""The same for small pictures."""

SAME: Final = 0.7
"""Correlation at `FINE_UM` from which two pieces show the same tissue."""

MAYBE: Final = 0.4
"""Correlation at low power from which a place is looked at closely."""

SLACK: Final = 6
"""Pixels at `FINE_UM` by which a place found at low power may be off."""

_TRIED: Final = 12
_FLAT: Final = 2.0  # grey levels
_DETAIL: Final = 12  # sigma in pixels; what is coarser looks alike on all slides
_WIDER: Final = 1.5
_WAYS: Final = 8
_AT_ONCE: Final = 2048  # places, so that their correlations with thousands of views take 60 MB


def reduced(pixels: npt.NDArray[np.uint8], mpp: float) -> Fine:
    """Detail of a picture, grey, at `FINE_UM`.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
    mpp : float
        um per pixel.

    Returns
    -------
    ndarray of float32, shape (h, w)
        Grey levels about those of the neighbourhood.
    """
    scale = mpp / FINE_UM
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    level = small.astype(np.float32)
    return level - cv2.GaussianBlur(level, (0, 0), _DETAIL)


def low_power(fine: Fine, factor: int) -> Fine:
    """A picture at `FINE_UM` shrunk by a whole factor; what is left over at its ends is cut."""
    height, width = (side // factor * factor for side in fine.shape)
    part = np.ascontiguousarray(fine[:height, :width])
    if factor == 1 or not part.size:
        return part
    size = width // factor, height // factor
    soft = cv2.GaussianBlur(part, (0, 0), factor / 2)
    return np.asarray(cv2.resize(soft, size, interpolation=cv2.INTER_AREA), np.float32)


def turned(piece: Fine) -> Iterator[Fine]:
    """A piece in its 8 orientations, as given first."""
    for number in range(_WAYS):
        yield _turn(piece, number)


def pieces(fine: Fine, side: int | None = None) -> list[Fine]:
    """Square pieces of a picture: its middle and its corners, without flat ones.

    Parameters
    ----------
    fine : ndarray of float32, shape (h, w)
    side : int, optional
        Of the pieces; not given: half of the picture, from `LEAST` to `PIECE`.
    """
    least = min(fine.shape)
    side = side or min(PIECE, max(LEAST, least // 2), least)
    down, right = (length - side for length in fine.shape)
    corners = ((down // 2, right // 2), (0, 0), (0, right), (down, 0), (down, right))
    found = [fine[y : y + side, x : x + side] for y, x in dict.fromkeys(corners)]
    return [piece for piece in found if _spread(piece) >= _FLAT]


def alike(piece: Fine, picture: Fine, top: int, left: int, slack: int = SLACK) -> float:
    """Correlation of a piece with a place of a picture or up to `slack` pixels away.

    Returns
    -------
    float
        In [-1, 1]; -1 where the picture ends before.
    """
    height, width = piece.shape
    rows = slice(max(0, top - slack), top + height + slack)
    part = picture[rows, max(0, left - slack) : left + width + slack]
    if part.shape[0] < height or part.shape[1] < width or _spread(part) < _FLAT:
        return -1.0
    return float(cv2.matchTemplate(np.ascontiguousarray(part), piece, cv2.TM_CCOEFF_NORMED).max())


class Pictures:
    """Pictures to look in, one below the other on a sheet at low power.

    Parameters
    ----------
    fine : sequence of ndarray of float32, shape (h, w)
        At `FINE_UM`, as `reduced` gives them.
    """

    def __init__(self, fine: Sequence[Fine]) -> None:
        self.fine = tuple(fine)
        self._sheets: dict[int, tuple[Fine, list[tuple[int, int, int]]]] = {}
        self._open: dict[tuple[int, int], npt.NDArray[np.bool_]] = {}
        self._views: dict[int, dict[int, Fine]] = {}

    def views(self, number: int) -> dict[int, Fine]:
        """Pieces of a picture at low power, in 8 orientations each, to be looked for elsewhere.

        Returns
        -------
        dict of int to ndarray of float32, shape (8 k, n * n)
            By the factor of the low power; rows of mean 0 and norm 1.
        """
        if number not in self._views:
            some = pieces(self.fine[number])
            low = [low_power(piece, _factor(piece)) for piece in some]
            rows = [_rows(way[None]) for one in low for way in turned(one)]
            self._views[number] = {_factor(some[0]): np.concatenate(rows)} if rows else {}
        return self._views[number]

    def places(self, piece: Fine, factor: int) -> Iterator[tuple[float, int, int, int]]:
        """Where a square piece may lie: the best place of each picture, if it is fair.

        Parameters
        ----------
        piece : ndarray of float32, shape (n, n)
            At `FINE_UM`.
        factor : int
            By which it is looked for at lower power.

        Yields
        ------
        tuple of (float, int, int, int)
            Correlation, number of the picture, top and left at `FINE_UM`.
        """
        sheet, boxes = self._sheet(factor)
        low = low_power(piece, factor)
        if sheet.shape[0] < low.shape[0] or sheet.shape[1] < low.shape[1]:
            return
        found = cv2.matchTemplate(sheet, low, cv2.TM_CCOEFF_NORMED)
        found[~self._is_open(factor, low.shape[0])] = -1
        highest = found.max(axis=1)
        for number, (top, height, _) in enumerate(boxes):
            rows = highest[top : top + height]
            if rows.size and rows.max() >= MAYBE:
                row = int(rows.argmax())
                column = int(found[top + row].argmax())
                yield float(rows[row]), number, row * factor, column * factor

    def _sheet(self, factor: int) -> tuple[Fine, list[tuple[int, int, int]]]:
        if factor not in self._sheets:
            parts = [low_power(one, factor) for one in self.fine]
            height = sum(part.shape[0] for part in parts)
            sheet = np.zeros((height, max((part.shape[1] for part in parts), default=0)), "f4")
            boxes, top = [], 0
            for part in parts:
                sheet[top : top + part.shape[0], : part.shape[1]] = part
                boxes.append((top, *part.shape))
                top += part.shape[0]
            self._sheets[factor] = sheet, boxes
        return self._sheets[factor]

    def _is_open(self, factor: int, side: int) -> npt.NDArray[np.bool_]:
        """Whether a square with its corner there is within one picture and not flat."""
        if (factor, side) not in self._open:
            sheet, boxes = self._sheet(factor)
            inside = np.zeros((sheet.shape[0] - side + 1, sheet.shape[1] - side + 1), bool)
            for top, height, width in boxes:
                if min(height, width) >= side:
                    inside[top : top + height - side + 1, : width - side + 1] = True
            mean, square = (
                cv2.boxFilter(one, -1, (side, side), anchor=(0, 0))[: len(inside)]
                for one in (sheet, sheet**2)
            )
            spread = (square - mean**2)[:, : inside.shape[1]]
            self._open[factor, side] = inside & (spread > (_FLAT / 2) ** 2)
        return self._open[factor, side]


def shares_tissue(one: Fine, known: Pictures) -> bool:
    """Whether a picture holds a part of one of others, or is a part of one.

    Parameters
    ----------
    one : ndarray of float32, shape (h, w)
        At `FINE_UM`, as `reduced` gives it.
    known : Pictures
    """
    return _lies_in(pieces(one), known) or _holds(one, known)


def _lies_in(some: Sequence[Fine], pictures: Pictures) -> bool:
    """Whether one of the pieces lies in one of the pictures."""
    found = []
    for piece in some:
        for way in turned(piece):
            found += [(*place, way) for place in pictures.places(way, _factor(piece))]
    found.sort(key=lambda place: place[0], reverse=True)
    return any(
        alike(way, pictures.fine[number], top, left) >= SAME
        for _, number, top, left, way in found[:_TRIED]
    )


def _holds(one: Fine, pictures: Pictures) -> bool:
    """Whether a picture holds a piece of one of those that are smaller.

    There may be hundreds of them, each with 40 pieces and orientations: all are compared
    with all places in one product of matrices.
    """
    small = [
        number
        for number, other in enumerate(pictures.fine)
        if _WIDER * min(other.shape) < min(one.shape)
    ]
    by_size: dict[tuple[int, int], list[int]] = {}
    for number in small:
        for factor, views in pictures.views(number).items():
            by_size.setdefault((factor, math.isqrt(views.shape[1])), []).append(number)
    return any(
        _is_among(one, pictures, numbers, factor, side)
        for (factor, side), numbers in by_size.items()
    )


def _is_among(
    one: Fine, pictures: Pictures, numbers: Sequence[int], factor: int, side: int
) -> bool:
    low = low_power(one, factor)
    if min(low.shape) < side:
        return False
    wanted = [pictures.views(number)[factor] for number in numbers]
    highest, where = _best(low, np.concatenate(wanted), side)
    ends = np.cumsum([len(views) for views in wanted])
    across = low.shape[1] - side + 1
    for number, scores, at in zip(
        numbers, np.split(highest, ends), np.split(where, ends), strict=False
    ):
        likely = [k for k in np.argsort(-scores)[:_TRIED] if scores[k] >= MAYBE]
        if not likely:
            continue
        some = pieces(pictures.fine[number])
        for k in likely:
            row, column = divmod(int(at[k]), across)
            way = _turn(some[k // _WAYS], k % _WAYS)
            if alike(way, one, row * factor, column * factor) >= SAME:
                return True
    return False


def _best(low: Fine, views: Fine, side: int) -> tuple[Fine, npt.NDArray[np.intp]]:
    """Highest correlation of each view with a place of a picture, and the number of the place.

    Flat places correlate with nothing.
    """
    windows = np.lib.stride_tricks.sliding_window_view(low, (side, side)).reshape(-1, side, side)
    highest = np.full(len(views), -1, np.float32)
    where = np.zeros(len(views), np.intp)
    for begin in range(0, len(windows), _AT_ONCE):
        found = _rows(windows[begin : begin + _AT_ONCE]) @ views.T
        place = found.argmax(axis=0)
        score = np.take_along_axis(found, place[None], axis=0)[0]
        better = score > highest
        highest[better], where[better] = score[better], begin + place[better]
    return highest, where


def _rows(squares: Fine) -> Fine:
    """Squares (k, n, n) as rows (k, n * n) of mean 0 and norm 1; 0 where they are flat."""
    rows = squares.reshape(len(squares), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    norm = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    flat = norm <= _FLAT / 2 * math.sqrt(rows.shape[1])
    return np.where(flat, 0, rows / np.where(flat, 1, norm)).astype(np.float32, copy=False)


def _spread(part: Fine) -> float:
    """Standard deviation; a fifth of the time of NumPy's."""
    return float(cv2.meanStdDev(np.ascontiguousarray(part))[1].item())


def _turn(piece: Fine, number: int) -> Fine:
    """One of the 8 orientations of a piece."""
    flipped, turns = divmod(number, 4)
    return np.ascontiguousarray(np.rot90(piece[:, ::-1] if flipped else piece, turns))


def _factor(piece: Fine) -> int:
    """By which a piece is looked for at lower power."""
    return 4 if len(piece) >= PIECE else 2 if len(piece) >= LEAST else 1
