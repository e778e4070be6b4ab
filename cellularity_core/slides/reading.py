"""Slide files -> pixels of tiles at the pixel size of the methods.

OpenSlide reads SVS, NDPI, MRXS, SCN, DICOM, tiled TIFF and what else it knows. Colours
are taken as they are stored, without the scanner's colour profile, as the patches that
the methods were trained on were.
"""

import logging
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openslide
import tifffile

from cellularity_core.archive import safe_name
from cellularity_core.conventions import DEFAULT_MPP, MPP_RANGE, SIDE_RANGE
from cellularity_core.errors import PixelSizeError, SlideError
from cellularity_core.patch import Patch, check_mpp, pixel_digest
from cellularity_core.pixel_size import believed, from_description
from cellularity_core.resample import resize
from cellularity_core.slides.grid import TILE_PX, TILE_UM, Grid, Tile, grid

# tifffile logs damage it works around; what matters is raised by the checks here.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

Pixels = npt.NDArray[np.uint8]

SAME_MPP: Final = 0.02
"""Relative difference of pixel size below which a tile is not resampled, as in scoring."""

BLOCK_PX: Final = 2048
"""Side of what is read at a time for the overview, in pixels of its level."""

MOST_SHRUNK: Final = 4
"""Factor by which a level is shrunk for a picture on screen, at most."""

MOST_TILE_PX: Final = 8192
"""Side of a tile of a TIFF, at most: OpenSlide makes room for a whole one, or ends the process."""

READERS: Final = 2
"""Threads that read."""

GLASS: Final = 255
"""What stands where the scanner stored nothing."""

FORMATS: Final = "SVS, NDPI, MRXS, SCN, tiled TIFF or DICOM"


class Slide:
    """A whole slide, open for reading; picklable, and several threads may read from it.

    Parameters
    ----------
    path : Path
    mpp : float, optional
        um per pixel of level 0; without it the file's own.

    Attributes
    ----------
    name : str
        Of the file. Nothing else of its metadata is kept.
    width, height : int
        Of what was scanned, in pixels of level 0.
    mpp : float
        um per pixel of level 0.
    mpp_source : {"file", "user"}
    claimed_mpp : float or None
        What the file says, whatever the user gave.
    tile_mpp : float
        um per pixel of tiles: 0.5, or that of the level they are read from where it is
        coarser or nearly the same.
    tile_um : float
        Side of a tile: 256, or nearly.
    grid : Grid

    Raises
    ------
    PixelSizeError
        If the pixel size is not given and not in the file, or no microscope has it.
    SlideError
        If the file is no slide, breaks off or is too small.
    """

    def __init__(self, path: Path, mpp: float | None = None) -> None:
        self.path = Path(path)
        self.name = safe_name(self.path.name)
        self._given = mpp
        self._file = _open(self.path, self.name)
        self._left, self._top, self.width, self.height = _scanned(self._file)
        self.claimed_mpp = self._claimed()
        self.mpp_source = "file" if mpp is None else "user"
        self.mpp = self._needed() if mpp is None else check_mpp(mpp, self.name)

        self._level = self._level_for(DEFAULT_MPP * (1 + SAME_MPP))
        step = self._step(self._level)
        level_mpp = step * self.mpp
        near = abs(level_mpp / DEFAULT_MPP - 1) <= SAME_MPP
        self.tile_mpp = level_mpp if near else max(level_mpp, DEFAULT_MPP)
        side = TILE_PX if near else round(TILE_UM / self.tile_mpp)
        scale = self.tile_mpp / self.mpp
        self.tile_um = side * self.tile_mpp
        self.grid: Grid = grid(self.width, self.height, side * scale, step)
        if min(self.width, self.height) < SIDE_RANGE[0] * scale:
            raise SlideError(
                f"{self.name} has {self.width} x {self.height} pixels, less than a patch; give "
                "the whole slide."
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return Slide, (self.path, self._given)

    def patch(self, tile: Tile) -> Patch:
        """Pixels of a tile at `tile_mpp`, shrunk by area; white where nothing was scanned.

        Raises
        ------
        SlideError
            If they cannot be read.
        """
        step = self._step(self._level)
        size = round(tile.width / step), round(tile.height / step)
        pixels = self._read(tile.x, tile.y, self._level, size)
        scale = self.mpp / self.tile_mpp
        pixels = resize(pixels, (round(tile.height * scale), round(tile.width * scale)))
        return Patch(
            name=f"{self.name} [{tile.x},{tile.y}]",
            pixels=pixels,
            mpp=self.tile_mpp,
            mpp_source="user" if self.mpp_source == "user" else "file",
            sha256=pixel_digest(pixels),
        )

    def overview(self) -> Pixels:
        """The whole slide at 2 to 8 um per pixel, read block by block.

        Returns
        -------
        ndarray of uint8, shape (h, w, 3)
            `Grid.cells` pixels along a tile.

        Raises
        ------
        SlideError
            If it cannot be read.
        """
        pitch = self.grid.pitch
        level = self._level_for(pitch * self.mpp)
        step = self._step(level)
        shape = int(np.ceil(self.height / pitch)), int(np.ceil(self.width / pitch))
        whole = np.empty((*shape, 3), np.uint8)
        side = max(self.grid.cells, int(BLOCK_PX * step / pitch))
        corners = [(t, k) for t in range(0, shape[0], side) for k in range(0, shape[1], side)]

        def fill(corner: tuple[int, int]) -> None:
            top, left = corner
            part = whole[top : top + side, left : left + side]
            x, y = round(left * pitch), round(top * pitch)
            right = min(self.width, round((left + part.shape[1]) * pitch))
            bottom = min(self.height, round((top + part.shape[0]) * pitch))
            size = max(1, round((right - x) / step)), max(1, round((bottom - y) / step))
            part[:] = resize(self._read(x, y, level, size), part.shape[:2])

        with ThreadPoolExecutor(READERS, thread_name_prefix="overview") as pool:
            list(pool.map(fill, corners))
        return whole

    def zooms(self) -> list[int]:
        """Factors, powers of 2, by which `picture` shrinks at little cost; finest first.

        Those finer than the overview for which no level need be shrunk by more than
        `MOST_SHRUNK`, so that a picture never takes much memory.
        """
        factors = [2**k for k in range(16) if 2**k < self.grid.pitch]
        return [f for f in factors if f / self._step(self._level_for_eye(f)) <= MOST_SHRUNK]

    def picture(self, x: int, y: int, side: int, zoom: int) -> Pixels:
        """What lies right of and below a point, for the eye; cut where the slide ends.

        Parameters
        ----------
        x, y : int
            In pixels of level 0.
        side : int
            Of the picture, in pixels.
        zoom : int
            Pixels of level 0 along one of the picture, one of `zooms`.

        Returns
        -------
        ndarray of uint8, shape (h, w, 3)

        Raises
        ------
        SlideError
            If it cannot be read.
        """
        level = self._level_for_eye(zoom)
        step = self._step(level)
        width, height = min(side * zoom, self.width - x), min(side * zoom, self.height - y)
        size = max(1, round(width / step)), max(1, round(height / step))
        shape = max(1, round(height / zoom)), max(1, round(width / zoom))
        return resize(self._read(x, y, level, size), shape)

    def _step(self, level: int) -> float:
        return float(self._file.level_downsamples[level])

    def _level_for_eye(self, zoom: int) -> int:
        return self._level_for(zoom * self.mpp * (1 + SAME_MPP))

    def _level_for(self, mpp: float) -> int:
        """The coarsest level that is no coarser than this, or the finest there is."""
        fine = (k for k in range(self._file.level_count) if self._step(k) * self.mpp <= mpp)
        return max(fine, key=self._step, default=0)

    def _read(self, x: int, y: int, level: int, size: tuple[int, int]) -> Pixels:
        try:
            at = self._left + x, self._top + y
            region = np.asarray(self._file.read_region(at, level, size))
        except openslide.OpenSlideError as error:
            raise SlideError(
                f"{self.name} cannot be read at x {x}, y {y} ({error}); the file is damaged or "
                "breaks off, so copy or export it again."
            ) from None
        alpha = region[..., 3:]
        if alpha.min() == 255:
            return np.ascontiguousarray(region[..., :3])
        share = alpha.astype(np.float32) / 255
        return np.rint(region[..., :3] * share + GLASS * (1 - share)).astype(np.uint8)

    def _claimed(self) -> float | None:
        """The first believable pixel size in the file."""
        properties = self._file.properties
        x, y = (
            _number(properties.get(name, ""))
            for name in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
        )
        claims = [(x, y)]
        claims += from_description(properties.get(openslide.PROPERTY_NAME_COMMENT, ""))
        return believed(claims)[0]

    def _needed(self) -> float:
        if self.claimed_mpp is not None:
            return self.claimed_mpp
        power = self._file.properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)
        about = f"; its objective is {power}x" if power else ""
        raise PixelSizeError(
            f"{self.name} does not state a pixel size between {MPP_RANGE[0]:g} and "
            f"{MPP_RANGE[1]:g} µm{about}, so nothing on it can be measured; give it with --mpp "
            "(0.5 is usual at 20x, 0.25 at 40x)."
        )


def _open(path: Path, name: str) -> openslide.OpenSlide:
    try:
        with path.open("rb") as file:
            head = file.read(4)
        is_tiff = head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
        if is_tiff:
            _check_whole(path, name)
        return openslide.OpenSlide(path)
    except OSError as error:
        raise SlideError(
            f"{name} cannot be read ({error.strerror or error}); check its path and permissions."
        ) from None
    except openslide.OpenSlideUnsupportedFormatError:
        if is_tiff:
            raise SlideError(
                f"{name} is a TIFF that breaks off or is stored in a way that is not read; copy "
                "it again, or export it as a tiled TIFF with JPEG compression."
            ) from None
        raise SlideError(
            f"{name} is not a slide; expected {FORMATS} (single pictures are for "
            "`cellularity score`)."
        ) from None
    except openslide.OpenSlideError as error:
        raise SlideError(
            f"{name} cannot be read ({error}); the file is damaged or breaks off, so copy or "
            "export it again."
        ) from None


def _check_whole(path: Path, name: str) -> None:
    """Refuse a TIFF whose tiles lie beyond its end, are too few for its size, or are none.

    OpenSlide would say so only when it comes to that tile.
    """
    try:
        with tifffile.TiffFile(path) as file:
            size = path.stat().st_size
            pages = _pages(file)
            end = max((_end(page) for page in pages), default=size + 1)
            keys = [page.keyframe for page in pages]
            tiled = any(key is not None and key.is_tiled for key in keys)
            lacks = any(
                key is not None and key.is_tiled and len(page.dataoffsets) < math.prod(key.chunked)
                for page, key in zip(pages, keys, strict=True)
            )
            side = max((max(key.tile) for key in keys if key is not None and key.tile), default=0)
    except OSError:
        raise
    except Exception:
        return  # of a kind that OpenSlide may know all the same
    if not 0 < end <= size:
        raise SlideError(f"{name} breaks off after {size:,} bytes; copy or export it again.")
    if lacks:
        raise SlideError(
            f"{name} lists fewer tiles than its size needs, so it is damaged; copy or export it "
            "again."
        )
    if side > MOST_TILE_PX:
        raise SlideError(
            f"{name} says that its tiles have {side:,} pixels a side, so it is damaged; copy or "
            "export it again."
        )
    if not tiled and openslide.OpenSlide.detect_format(path) is None:  # some scanners need none
        raise SlideError(
            f"{name} is a picture without tiles and not a slide; score it with `cellularity "
            "score`, or export it as a tiled TIFF."
        )


def _pages(file: tifffile.TiffFile) -> list[tifffile.TiffPage | tifffile.TiffFrame]:
    """Its directories, of which a damaged file may list the same ones again and again."""
    found: dict[int, tifffile.TiffPage | tifffile.TiffFrame] = {}
    for page in file.pages:
        if page.offset in found:
            break
        found[page.offset] = page
    return list(found.values())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _end(page: tifffile.TiffPage | tifffile.TiffFrame) -> int:
    counted = zip(page.dataoffsets, page.databytecounts, strict=False)
    return max((start + length for start, length in counted), default=0)


def _scanned(file: Any) -> tuple[int, int, int, int]:
    """Left, top, width and height of what was scanned, in pixels of level 0.

    MRXS and some others lie on a larger empty plane and say where. A slide's pixels are
    counted from there, as QuPath counts them, so that its outlines fit.
    """
    width, height = file.dimensions
    names = ("BOUNDS_X", "BOUNDS_Y", "BOUNDS_WIDTH", "BOUNDS_HEIGHT")
    keys = [getattr(openslide, f"PROPERTY_NAME_{name}") for name in names]
    try:
        left, top, wide, tall = (int(file.properties[key]) for key in keys)
    except (KeyError, ValueError):
        return 0, 0, width, height
    if min(left, top) < 0 or min(wide, tall) < 1 or left + wide > width or top + tall > height:
        return 0, 0, width, height
    return left, top, wide, tall
