"""One training loop for every network: logged, seeded, resumable after a kill."""

import csv
import dataclasses
import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from cellularity_core.errors import ModelError

log = logging.getLogger(__name__)

CHECKPOINT: Final = "checkpoint.pt"
BEST: Final = "best.pt"
LOG: Final = "log.csv"
DONE: Final = "done.json"
ORIGIN: Final = "made-with.json"
"""What a run was made with; one that goes on must ask for the same."""
CHOOSING: Final = "inner_"
"""Begins a column of the log measured on the patients held back to choose the epoch."""

Batch = Any


@dataclass(frozen=True, slots=True)
class Compute:
    """Where and how numbers are crunched.

    Attributes
    ----------
    device : torch.device
    bf16 : bool
        Autocast to bfloat16: always on CUDA, on CPUs that multiply it when asked for.
    """

    device: torch.device
    bf16: bool

    @classmethod
    def choose(cls, device: str = "auto", bf16: bool | None = None) -> "Compute":
        """Resolve ``auto``, ``cpu`` or ``cuda``."""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise ModelError("No CUDA device is there; use --device cpu.")
        return cls(torch.device(device), device == "cuda" if bf16 is None else bf16)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def images(self, batch: torch.Tensor) -> torch.Tensor:
        """uint8 (B, H, W, 3) to float (B, 3, H, W) in [-1, 1], channels last."""
        moved = batch.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        return moved.float().div_(127.5).sub_(1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast.

    Attributes
    ----------
    epochs : int
    rate : float
        Largest learning rate.
    final_rate : float
        Learning rate of the last step.
    warmup : float
        Share of the steps over which the rate rises to `rate`.
    optimiser : {"adam", "adamw"}
    decay : float
        Weight decay.
    keep_best : bool
        Keep the epoch that is best on patients held back to choose it, where there are
        some; else the last. Figures of a kept best are optimistic on those same patients.
    """

    epochs: int
    rate: float = 1e-3
    final_rate: float = 1e-6
    warmup: float = 0.2
    optimiser: Literal["adam", "adamw"] = "adamw"
    decay: float = 1e-2
    keep_best: bool = False

    def rate_at(self, progress: float) -> float:
        """Rate at a share of the training, 0 to 1: linear rise, then half a cosine."""
        if progress < self.warmup:
            return self.rate * (0.04 + 0.96 * progress / self.warmup)
        rest = (progress - self.warmup) / max(1e-9, 1 - self.warmup)
        cosine = 0.5 * (1 + float(torch.cos(torch.tensor(rest * torch.pi))))
        return self.final_rate + (self.rate - self.final_rate) * cosine


def fit(
    model: nn.Module,
    *,
    out: Path,
    schedule: Schedule,
    compute: Compute,
    batches: Callable[[int], Iterable[Batch]],
    steps: int,
    loss: Callable[[nn.Module, Batch], torch.Tensor],
    validate: Callable[[nn.Module, int], Mapping[str, float]] | None = None,
    monitor: tuple[str, Literal["min", "max"]] | None = None,
    description: Mapping[str, Any],
    resume: bool = False,
    before_epoch: Callable[[nn.Module, int], None] | None = None,
) -> dict[str, float]:
    """Train, and leave ``best.pt`` (of the last or the best epoch) and ``log.csv`` in `out`.

    Parameters
    ----------
    model : nn.Module
        Trained in place; ends with the weights of the best epoch.
    out : Path
        Folder of the run.
    schedule : Schedule
    compute : Compute
    batches : callable
        Epoch number to its batches; must depend on that number alone, so that a
        resumed run sees the same data.
    steps : int
        Batches an epoch.
    loss : callable
        Model and batch to a scalar.
    validate : callable, optional
        Model and epoch to metrics; called after every epoch, may return nothing.
    monitor : (name, "min" or "max"), optional
        Metric that chooses the epoch when the schedule keeps the best.
    description : mapping
        Stored beside the weights (network, checksum of the data, seed); a run goes on only
        where it is the same, on the same kind of device in the same precision.
    resume : bool
        Go on from the last finished epoch where there is one; else begin anew.
    before_epoch : callable, optional
        Model and epoch, before its first batch.

    Returns
    -------
    dict
        Metrics of the epoch kept.

    Raises
    ------
    ModelError
        If what is to be gone on with was made with other settings or data, on another device
        or in another precision, or the training diverges; then there is no ``done.json``.
    """
    out.mkdir(parents=True, exist_ok=True)
    on = {"device": compute.device.type, "bf16": compute.bf16}
    plan = {"schedule": dataclasses.asdict(schedule), "steps": steps}
    _claim(out, {**plan, **on, **description}, resume)
    if (out / DONE).exists() and resume:
        model.load_state_dict(load_weights(out / BEST)["model"])
        done: dict[str, float] = json.loads((out / DONE).read_text())
        return done
    model.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser: torch.optim.Optimizer = (
        torch.optim.AdamW(trained, lr=schedule.rate, weight_decay=schedule.decay)
        if schedule.optimiser == "adamw"
        else torch.optim.Adam(trained, lr=schedule.rate)
    )
    start, best = 0, dict[str, float]()
    if resume and (out / CHECKPOINT).exists():
        state = load_weights(out / CHECKPOINT)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        start, best = state["epoch"], state["best"]
        _trim_log(out / LOG, start)
    elif (out / LOG).exists():
        (out / LOG).unlink()
    columns = (
        TextColumn(out.name),
        TextColumn("epoch {task.fields[epoch]}/" + str(schedule.epochs)),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(
            "", total=schedule.epochs * steps, completed=start * steps, epoch=start, loss=0.0
        )
        for epoch in range(start, schedule.epochs):
            began, total = time.perf_counter(), 0.0
            if before_epoch:
                before_epoch(model, epoch)
            model.train()
            # Dropout draws from the global generator; tie it to the epoch for resuming.
            torch.manual_seed(int(description.get("seed", 0)) * 100_003 + epoch)
            step = -1
            for step, batch in enumerate(batches(epoch)):
                rate = schedule.rate_at((epoch * steps + step) / (schedule.epochs * steps))
                for group in optimiser.param_groups:
                    group["lr"] = rate
                with compute.autocast():
                    value = loss(model, batch)
                if not torch.isfinite(value):
                    raise _diverged(out, f"loss is no number in epoch {epoch + 1}")
                optimiser.zero_grad(set_to_none=True)
                value.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(trained, 5.0)
                optimiser.step()
                total += float(value.detach())
                bar.update(task, advance=1, epoch=epoch + 1, loss=total / (step + 1))
            if not _is_finite(model):  # by its last step, whose outcome no loss has seen
                raise _diverged(out, f"weights are no numbers after epoch {epoch + 1}")
            model.eval()
            metrics = dict(validate(model, epoch)) if validate else {}
            row = {"epoch": epoch + 1.0, "loss": total / max(1, step + 1), **metrics}
            row["seconds"] = time.perf_counter() - began
            _append_log(out / LOG, row)
            chooser = monitor if schedule.keep_best else None
            if _better(row, best, chooser, last=epoch + 1 == schedule.epochs):
                best = row
                save_weights(out / BEST, {"model": model.state_dict(), **_plain(description)})
            save_weights(
                out / CHECKPOINT,
                {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "epoch": epoch + 1,
                    "best": best,
                },
            )
    if schedule.keep_best and monitor and not math.isfinite(best.get(monitor[0], 0.0)):
        raise _diverged(out, f"{monitor[0]} is no number in any epoch")
    model.load_state_dict(load_weights(out / BEST)["model"])
    (out / DONE).write_text(json.dumps(best, indent=1))
    (out / CHECKPOINT).unlink(missing_ok=True)
    return best


def _claim(out: Path, settings: Mapping[str, Any], resume: bool) -> None:
    """Hold the folder of a run to one description; without `resume` clear what is there."""
    path = out / ORIGIN
    wanted = json.dumps(settings, indent=1, sort_keys=True, default=str)
    is_begun = any((out / name).exists() for name in (ORIGIN, DONE, CHECKPOINT))
    if resume and is_begun:
        if not path.exists() or path.read_text(encoding="utf-8") != wanted:
            raise ModelError(
                f"The run in '{out}' was not begun with these settings and data, on this device "
                f"and in this precision (its {ORIGIN} says with which), so it cannot go on; give "
                "another --out, or leave --resume out to begin anew."
            )
        return
    if not resume:
        for name in (DONE, CHECKPOINT, BEST):
            (out / name).unlink(missing_ok=True)
    path.write_text(wanted, encoding="utf-8")


def load_weights(path: Path) -> dict[str, Any]:
    """Tensors and plain values of a run's file; executes nothing."""
    if not path.exists():
        raise ModelError(f"There is no {path.name} in '{path.parent}'; train that network first.")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def weights_checksum(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of a network's tensors by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_weights(path: Path, state: Mapping[str, Any]) -> None:
    """Write at once or not at all, so that a kill leaves the file before it."""
    part = path.with_suffix(".part")
    torch.save(dict(state), part)
    os.replace(part, path)


def _plain(description: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": json.loads(json.dumps(description))}


def _is_finite(model: nn.Module) -> bool:
    """Whether every weight and every running mean is a number."""
    state = model.state_dict().values()
    return all(bool(torch.isfinite(one).all()) for one in state if one.is_floating_point())


def _diverged(out: Path, what: str) -> ModelError:
    return ModelError(
        f"The training of '{out.name}' has diverged: its {what}. Lower its learning rate in the "
        "recipe, and begin it anew."
    )


def _better(
    row: Mapping[str, float],
    best: Mapping[str, float],
    monitor: tuple[str, Literal["min", "max"]] | None,
    last: bool,
) -> bool:
    if monitor is None:
        return last
    name, sense = monitor
    if not math.isfinite(row.get(name, math.nan)):
        return last and not best
    if name not in best:
        return True
    return row[name] < best[name] if sense == "min" else row[name] > best[name]


def _append_log(path: Path, row: Mapping[str, float]) -> None:
    rows: list[dict[str, Any]] = []
    if path.exists():
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    rows.append({k: f"{v:.6g}" for k, v in row.items()})
    _write_log(path, rows)


def _trim_log(path: Path, epochs: int) -> None:
    if path.exists():
        with path.open(newline="") as file:
            rows = [r for r in csv.DictReader(file) if float(r["epoch"]) <= epochs]
        _write_log(path, rows)


def _write_log(path: Path, rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(part, path)
