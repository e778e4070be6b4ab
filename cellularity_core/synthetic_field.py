"""Tissue of a synthetic patch: two stains on a grid, layer upon layer, and its nuclei."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from cellularity_core.points import NucleiPoints
from cellularity_core.synthetic_nuclei import (
    ADIPOCYTE_LOOK,
    DUCTAL_LOOK,
    FIBROBLAST_LOOK,
    LYMPHOCYTE_LOOK,
    TUMOUR_LOOK,
    Look,
    Plane,
    smoothstep,
    stamps,
)

_CLEARANCE_UM: Final = 4.5
"""Nuclei drawn later keep this far from the centres of those drawn before."""

_BATCH: Final = 500
"""Nuclei drawn at a time, to bound memory."""


class Field:
    """The two stains while they are laid down, layer upon layer."""

    def __init__(self, rng: np.random.Generator, side: int, mpp: float) -> None:
        self.rng = rng
        self.side = side
        self.mpp = mpp
        shape = (side, side)
        self.haematoxylin: Plane = np.zeros(shape, np.float32)
        self.eosin: Plane = np.zeros(shape, np.float32)
        self.tumour = np.zeros(shape, bool)
        self.stroma = np.ones(shape, bool)
        self._xy: list[npt.NDArray[np.float64]] = []
        self._label: list[npt.NDArray[np.int8]] = []
        self._chromatin = self.noise(0.8)
        self.angle: Plane = (np.pi * (rng.random() + 0.55 * self.noise(110))).astype(np.float32)

    def points(self) -> NucleiPoints:
        """Nuclei drawn so far whose centres lie inside."""
        xy = np.concatenate([np.zeros((0, 2)), *self._xy])
        label = np.concatenate([np.zeros(0, np.int8), *self._label])
        inside = ((xy >= 0) & (xy <= self.side - 1)).all(axis=1)
        return NucleiPoints(xy[inside], label[inside])

    def noise(self, scale: float) -> Plane:
        """Smooth noise of unit variance with grains of about `scale` um."""
        step = max(1.0, scale / self.mpp / 2)
        small = int(self.side / step) + 4
        grain = self.rng.standard_normal((small, small), np.float32)
        grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), 1.0), np.float32)
        grain = grain / max(float(grain.std()), 1e-6)
        wide = cv2.resize(grain, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        top, left = self.rng.integers(0, np.array(wide.shape) - self.side + 1)
        return np.ascontiguousarray(wide[top : top + self.side, left : left + self.side])

    def collagen(self) -> None:
        """Wavy fibres along a slowly turning direction, with clefts between bundles."""
        across = np.mgrid[: self.side, : self.side].astype(np.float32)
        direction = self.angle + 0.4 * self.noise(22) + 0.4 * self.noise(8)
        dy, dx = np.sin(direction) / self.mpp, np.cos(direction) / self.mpp
        fibres = 1.1 * self.noise(1.3) + 0.9 * self.noise(4.0)
        for reach in (1.0, 2.0, 4.0, 8.0):
            ends = [
                cv2.remap(
                    fibres,
                    across[1] + sign * reach * dx,
                    across[0] + sign * reach * dy,
                    cv2.INTER_LINEAR,
                    borderMode=cv2.BORDER_REFLECT,
                )
                for sign in (-1, 1)
            ]
            fibres = (ends[0] + ends[1]) / 2
        fibres = (fibres - fibres.mean()) / fibres.std()
        body = 0.62 + 0.19 * fibres + 0.10 * self.noise(45) + 0.05 * self.noise(1.0)
        cleft = smoothstep(fibres + 0.6 * self.noise(30), -2.3, -1.5)
        self.eosin = np.clip(body, 0.06, 1.4) * (0.15 + 0.85 * cleft)
        self.haematoxylin = np.clip(0.05 + 0.03 * self.noise(12), 0, 0.3) * cleft

    def nests(self, share: float) -> None:
        """Tumour nests over `share` of the field, with cytoplasm and packed nuclei."""
        if share == 0:
            return
        septa = np.exp(-((self.noise(75) / 0.11) ** 2)) + np.exp(-((self.noise(48) / 0.08) ** 2))
        relief = self.noise(95) + 0.55 * self.noise(38) + 0.16 * self.noise(9) - 2.2 * septa
        level = np.quantile(relief, 1 - share)
        self.tumour = relief > level
        soft = smoothstep(relief - level, -0.02, 0.10)
        halo = smoothstep(np.abs(relief - level + 0.10), 0.02, 0.12)
        gaps = smoothstep(self.noise(40), -0.2, 0.6)
        self.eosin *= 1 - (1 - halo) * gaps * 0.9
        cytoplasm = 0.46 + 0.09 * self.noise(14) + 0.07 * self.noise(1.6)
        self._blend(soft, 0.20 + 0.06 * self.noise(12) + 0.03 * self.noise(1.2), cytoplasm)
        self.stroma &= relief < level - 0.12
        spots = self._scatter(self.tumour, self.rng.uniform(10.2, 12.2), 0.95)
        at = np.rint(spots).astype(int)
        walls = self._walls(spots, soft)
        self._blend(walls * soft * 0.75, 0.05, 0.12)
        self._draw(spots, TUMOUR_LOOK, self.rng.random(len(at)) * np.pi)

    def _walls(self, spots: npt.NDArray[np.float64], inside: Plane) -> Plane:
        """Thin light seams half way between neighbouring cells."""
        seeds = np.full((self.side, self.side), 255, np.uint8)
        at = np.clip(np.rint(spots).astype(int), 0, self.side - 1)
        seeds[at[:, 1], at[:, 0]] = 0
        distance, owner = cv2.distanceTransformWithLabels(
            seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        edge = cv2.morphologyEx(owner.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((2, 2)))
        seam = (edge > 0).astype(np.float32) * (distance < 14 / self.mpp) * inside
        seam *= smoothstep(self.noise(25), -0.4, 0.8)
        return np.asarray(cv2.GaussianBlur(seam, (0, 0), max(0.45 / self.mpp, 0.6)), np.float32)

    def fat(self, share: float) -> None:
        """Fat cells: empty discs with thin walls, in stroma."""
        if share == 0:
            return
        relief = self.noise(120)
        region = (relief > np.quantile(relief, 1 - share)) & self.stroma
        spots = self._scatter(region, 38.0, 0.97)
        if len(spots) == 0:
            return
        rows, columns = np.mgrid[: self.side, : self.side].astype(np.float32)
        warp = 3.0 / self.mpp * self.noise(30)
        nearest = np.full((2, self.side, self.side), np.inf, np.float32)
        radii = self.rng.uniform(17, 26, len(spots)) / self.mpp
        for (x, y), radius in zip(spots, radii, strict=True):
            depth = np.hypot(columns - x, rows - y) + warp - radius
            nearest[1] = np.minimum(nearest[1], np.maximum(nearest[0], depth))
            nearest[0] = np.minimum(nearest[0], depth)
        wall = np.minimum(-nearest[0], (nearest[1] - nearest[0]) / 2) * self.mpp
        empty = smoothstep(wall, 0.3, 1.3)
        empty *= cv2.GaussianBlur(self.stroma.astype(np.float32), (0, 0), 1 / self.mpp)
        self._blend(empty, 0.0, 0.015)
        self.stroma &= nearest[0] > 2 / self.mpp
        turn = self.rng.random(len(spots)) * 2 * np.pi
        rim = spots + (radii * 0.98)[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        at = np.clip(np.rint(rim).astype(int), 0, self.side - 1)
        some = (self.rng.random(len(spots)) < 0.7) & (empty[at[:, 1], at[:, 0]] < 0.5)
        self._draw(rim[some], ADIPOCYTE_LOOK, turn[some] + np.pi / 2)

    def acini(self, count: int) -> None:
        """Benign glands: one even layer of nuclei around a lumen, and a flat outer layer."""
        room = cv2.distanceTransform(self.stroma.astype(np.uint8), cv2.DIST_L2, 5)
        wobble, grain, fine = self.noise(14), self.noise(6), self.noise(3)
        for _ in range(count):
            radius = self.rng.uniform(19, 30) / self.mpp
            free = np.argwhere(room > radius * 1.15)
            if len(free) == 0:
                return
            y, x = free[self.rng.integers(len(free))].tolist()
            reach = int(1.2 * radius + 5 / self.mpp)
            top, left = max(y - reach, 0), max(x - reach, 0)
            view = np.s_[top : y + reach, left : x + reach]
            dy, dx = np.ogrid[
                top - y : min(reach, self.side - y), left - x : min(reach, self.side - x)
            ]
            squeeze, tilt = self.rng.uniform(0.75, 1.0), self.rng.random() * np.pi
            u = dx * np.cos(tilt) + dy * np.sin(tilt)
            v = dy * np.cos(tilt) - dx * np.sin(tilt)
            depth = np.asarray(
                (radius - np.hypot(u, v / squeeze)) * self.mpp + 1.2 * wobble[view], np.float32
            )
            epithelium = smoothstep(depth, -0.5, 0.8)
            sheath = epithelium - smoothstep(depth, 1.5, 3.0)
            lumen = smoothstep(depth, 12.5, 14.5)
            self._blend(epithelium, 0.20 + 0.03 * grain[view], 0.42 + 0.05 * fine[view], view)
            self._blend(sheath * 0.8, 0.05, 0.8, view)
            self._blend(lumen, 0.02, 0.04 + 0.02 * grain[view], view)
            for look, inset, spacing in ((DUCTAL_LOOK, 6.6, 6.6), (FIBROBLAST_LOOK, 0.2, 17.0)):
                ring = radius - inset / self.mpp
                number = int(2 * np.pi * ring * (1 + squeeze) / 2 / (spacing / self.mpp))
                turn = np.arange(number) / number * 2 * np.pi + self.rng.random() * 6
                turn += self.rng.normal(0, 0.12, number) / max(number / 12, 1)
                a, b = ring * np.cos(turn), ring * squeeze * np.sin(turn)
                a, b = (w * self.rng.normal(1, 0.025, number) for w in (a, b))
                spots = np.stack(
                    [
                        x + a * np.cos(tilt) - b * np.sin(tilt),
                        y + a * np.sin(tilt) + b * np.cos(tilt),
                    ],
                    axis=1,
                )
                facing = turn + tilt + (0.0 if look is DUCTAL_LOOK else np.pi / 2)
                self._draw(spots, look, facing)
            self.stroma[view] &= depth < -2
            room = cv2.distanceTransform(self.stroma.astype(np.uint8), cv2.DIST_L2, 5)

    def lymphocytes(self, amount: float) -> None:
        """Clusters in stroma, denser beside nests, and single ones in between."""
        if amount == 0 or not self.stroma.any():
            return
        near = np.zeros((self.side, self.side), np.float32)
        if self.tumour.any():
            away = cv2.distanceTransform((~self.tumour).astype(np.uint8), cv2.DIST_L2, 5)
            near = np.exp(-away * self.mpp / 25)
        relief = self.noise(60) + 1.2 * near
        region = self.stroma & (relief > np.quantile(relief, 1 - 0.35 * amount))
        clustered = self._scatter(region, 6.6, 0.75)
        single = self._scatter(self.stroma, 7.0, 0.012 + 0.03 * amount)
        spots = np.concatenate([clustered, single])
        thin = cv2.GaussianBlur(region.astype(np.float32), (0, 0), 3 / self.mpp)
        self.eosin *= 1 - 0.45 * thin
        self._draw(spots, LYMPHOCYTE_LOOK, self.rng.random(len(spots)) * np.pi)

    def fibroblasts(self) -> None:
        """Slender nuclei along the fibres."""
        spots = self._scatter(self.stroma, 17.0, 0.42)
        at = np.rint(spots).astype(int)
        along = self.angle[at[:, 1], at[:, 0]] + self.rng.normal(0, 0.2, len(spots))
        self._draw(spots, FIBROBLAST_LOOK, along)

    def _blend(
        self,
        cover: Plane,
        haematoxylin: Plane | float,
        eosin: Plane | float,
        view: tuple[slice, slice] = np.s_[:, :],
    ) -> None:
        """Lay stains over what is there, as far as `cover` (0 to 1) says."""
        self.haematoxylin[view] += cover * (haematoxylin - self.haematoxylin[view])
        self.eosin[view] += cover * (eosin - self.eosin[view])

    def _scatter(
        self, region: npt.NDArray[np.bool_], spacing: float, keep: float
    ) -> npt.NDArray[np.float64]:
        """Jittered points of a hexagonal lattice in `region`: (x, y), about `spacing` um apart."""
        step = spacing / self.mpp
        number = int(self.side / step) + 4
        row, column = np.mgrid[: int(number * 1.2), :number].astype(float)
        lattice = np.stack([(column + row % 2 / 2) * step, row * step * 0.866], axis=-1)
        spots = lattice.reshape(-1, 2) + self.rng.uniform(-step, 0, 2)
        spots += self.rng.normal(0, 0.17 * step, spots.shape)
        at = np.rint(spots).astype(int)
        inside = ((at >= 0) & (at < self.side)).all(axis=1)
        spots, at = spots[inside], at[inside]
        wanted = region[at[:, 1], at[:, 0]] & (self.rng.random(len(at)) < keep)
        return np.asarray(spots[wanted], np.float64)

    def _draw(
        self, spots: npt.NDArray[np.float64], look: Look, facing: npt.NDArray[np.floating]
    ) -> None:
        """Nuclei at `spots` with their long axes along `facing` (radians).

        A spot on a nucleus that is there already is passed over, so that every
        point of the answer can be seen.
        """
        free = np.ones(len(spots), bool)
        for there in self._xy:
            apart = np.hypot(*(spots[:, None] - there[None]).transpose(2, 0, 1))
            free &= (apart > _CLEARANCE_UM / self.mpp).all(axis=1)
        spots, facing = spots[free], facing[free]
        for start in range(0, len(spots), _BATCH):
            batch = np.s_[start : start + _BATCH]
            self._stamp(*stamps(self.rng, spots[batch], look, facing[batch], self.mpp), look)
        self._xy.append(spots)
        self._label.append(np.full(len(spots), look.label, np.int8))

    def _stamp(self, drawn: Plane, offsets: npt.NDArray[np.int64], look: Look) -> None:
        """Lay nuclei down, chromatin included."""
        reach = drawn.shape[-1]
        for (x, y), (cover, depth) in zip(offsets.tolist(), drawn, strict=True):
            top, left = max(y, 0), max(x, 0)
            bottom, right = min(y + reach, self.side), min(x + reach, self.side)
            if top >= bottom or left >= right:
                continue
            view = np.s_[top:bottom, left:right]
            part = np.s_[top - y : bottom - y, left - x : right - x]
            texture = 1 + look.chromatin * 0.45 * self._chromatin[view]
            amount = np.maximum(depth[part] * texture, 0.12)
            self.haematoxylin[view] += cover[part] * (amount - self.haematoxylin[view])
            self.eosin[view] += cover[part] * (0.34 - self.eosin[view])
