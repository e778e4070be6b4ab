"""Fingerprints on real patches: copies are known again, other patches are not."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from cellularity_core.fingerprint import fingerprint, is_same_tissue, turned_fingerprints
from cellularity_core.patch import load_patch


@pytest.fixture(scope="module")
def patches(data_root: Path) -> list[np.ndarray]:
    paths = sorted((data_root / "brca_m2c" / "images").glob("*.png"))
    return [load_patch(path.read_bytes(), path.name).pixels for path in paths]


def jpeg(pixels):
    _, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1]


def brighter(pixels):
    return np.clip(pixels.astype(np.float32) * 1.1 + 8, 0, 255).astype(np.uint8)


COPIES = {
    "jpeg": jpeg,
    "half size": lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "larger": lambda p: cv2.resize(p, (700, 700), interpolation=cv2.INTER_CUBIC),
    "brighter": brighter,
    "blurred": lambda p: cv2.GaussianBlur(p, (0, 0), 1.5),
    "a few pixels cut": lambda p: p[3:-4, 5:-2],
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_a_changed_copy_is_known_again(patches, change):
    known = [is_same_tissue(fingerprint(p), fingerprint(change(p.copy()))) for p in patches]
    assert np.mean(known) >= 0.98


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_a_turned_copy_is_known_again(patches, turns, flip):
    for pixels in patches[:20]:
        copy = np.ascontiguousarray(np.rot90(pixels[:, ::-1] if flip else pixels, turns))
        known = fingerprint(pixels)
        assert any(is_same_tissue(known, one) for one in turned_fingerprints(copy))


def test_other_patches_are_not_taken_for_it(patches):
    every = [turned_fingerprints(p) for p in patches]
    pairs = list(itertools.permutations(range(len(patches)), 2))
    wrong = sum(any(is_same_tissue(every[a][0], one) for one in every[b]) for a, b in pairs)
    assert wrong == 0


def test_fingerprints_have_the_width_the_records_keep(patches):
    assert {len(fingerprint(p)) for p in patches} == {16}
    assert turned_fingerprints(patches[0])[0] == fingerprint(patches[0])
