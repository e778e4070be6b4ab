"""A tiny plan for `reproduce`: recipes that train in seconds, on a few real patches."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cellularity_core.reproduce import run
from cellularity_core.reproduce.outcome import Outcome
from cellularity_core.reproduce.rows import select
from cellularity_core.reproduce.run import Request
from cellularity_core.training.loop import Compute, Schedule
from cellularity_core.training.recipes import Boosting, Direct, Recipe, Segmentation, recipe

CPU = Compute(torch.device("cpu"), bf16=False)
LITE = "tf_efficientnet_lite0"
SHORT = Schedule(2, rate=1e-3, warmup=0.0)
DRAWN = Segmentation(LITE, "fpn-light", "random", SHORT, side=64, view_mpp=1.0, batch=4)
NAMES = ("fpn-random", "gbt-random", "xception-c-random", "akbar-inception")


def tiny(name: str) -> Recipe:
    if name == "fpn-random":
        return Recipe(name, segmentation=DRAWN)
    if name == "gbt-random":
        return Recipe(name, segmentation=DRAWN, boosting=Boosting(views=8, rounds=15))
    if name == "akbar-inception":
        return recipe(name)
    direct = Direct(LITE, "random", "classification", SHORT, side=64, batch=4, views=1)
    return Recipe(name, direct_classes=direct)


def offline(encoders: Collection[str]) -> dict[str, str]:
    return dict.fromkeys(encoders, "there is no network here")


@contextmanager
def one_thread() -> Iterator[None]:
    """Cores that others use too make two threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def few_patches(source: Path, folder: Path) -> Path:
    """Nine patches of nine patients of BRCA-M2C, quartered in size."""
    import cv2

    names: dict[str, str] = {}
    for name in (source / "train.txt").read_text().split():
        names.setdefault(name[:12], name)
    chosen = list(names.values())[::6][:9]
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    (folder / "train.txt").write_text("\n".join(chosen))
    (folder / "val.txt").write_text("")
    for name in chosen:
        points = f"{Path(name).stem}_gt_class_coords.txt"
        image = cv2.imread(str(source / "images" / name))[:232, :240]
        cv2.imwrite(str(folder / "images" / name), image)
        lines = (source / "labels" / points).read_text().splitlines()
        kept = [s for s in lines if float(s.split()[0]) < 232 and float(s.split()[1]) < 240]
        (folder / "labels" / points).write_text("\n".join(kept) + "\n")
    return folder


def request(patches: Path, out: Path, names: Collection[str] = NAMES, **changes) -> Request:
    plan = Request(
        [f"brca-m2c:{patches}"], out, select(list(names)), CPU, recipes=tiny, without=offline
    )
    return replace(plan, **changes)


def outcomes_of(monkeypatch: pytest.MonkeyPatch) -> dict[str, Outcome]:
    """What becomes of each row, in place of a report of it."""
    found: dict[str, Outcome] = {}

    def keep(_, __, rows, ___) -> None:
        found.update({one.row.name: one for one in rows})

    monkeypatch.setattr(run, "write_results", keep)
    return found
