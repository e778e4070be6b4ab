"""Tasks spread over workers that may be lost, each result once.

A task goes to another worker when its own is lost, so it may run twice, but its result is
given out once. What is handed out and what is held is bounded, whatever the number of tasks.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from cellularity_core.cluster.places import Place, places
from cellularity_core.errors import ClusterError

IN_FLIGHT: Final = 2
"""Tasks at a worker: one runs out while the next begins."""

HELD: Final = 4
"""Tasks handed out or finished out of turn, for each worker, where order is kept."""

LOSSES: Final = 3
"""Workers that one task may lose before it is held to be the reason."""

GLANCE_SECONDS: Final = 5.0
"""Between looks for machines that have joined."""

PATIENCE_SECONDS: Final = 180.0
"""Without any worker at work before the run ends."""


@dataclass(slots=True, eq=False)
class _Worker:
    """A worker; `waking` is what becomes ready when it has loaded its model."""

    place: Place
    actor: Any
    waking: Any


@dataclass(slots=True)
class _Task:
    index: int
    content: Any
    losses: int = 0


class Pool:
    """One worker at each place of a cluster, also of machines that join later.

    Parameters
    ----------
    ray : module
        Connected.
    kind : type
        Of the workers: with a method ``ready``, and one for each kind of task.
    arguments : callable
        From a `Place` to what a worker there is made of.
    device : {"cpu", "cuda"}
        Of all workers.
    tell : callable
        Told in a sentence of workers that are lost.
    """

    def __init__(
        self,
        ray: Any,
        kind: type,
        arguments: Callable[[Place], tuple[Any, ...]],
        device: str,
        tell: Callable[[str], None],
    ) -> None:
        self._ray = ray
        self._kind = ray.remote(kind)
        self._arguments = arguments
        self._tell = tell
        self._device = device
        self._workers: list[_Worker] = []
        self._looked = -GLANCE_SECONDS

    def results(
        self, method: str, contents: Iterable[Any], in_order: bool = False
    ) -> Generator[Any]:
        """What a method of the workers makes of each content.

        Parameters
        ----------
        method : str
        contents : iterable
            Read lazily.
        in_order : bool
            Whether results come in the order of the contents, or as they are ready.

        Raises
        ------
        CellularityError
            What a worker raised, or a `ClusterError` if there is no worker any more, or the
            same task was lost with several.
        """
        source = (_Task(index, content) for index, content in enumerate(contents))
        again = deque(islice(source, 1))
        flying: dict[Any, tuple[_Worker, _Task]] = {}
        held: dict[int, Any] = {}
        due, ended, alive = 0, not again, time.monotonic()

        def following() -> _Task | None:
            nonlocal ended
            if again:
                return again.popleft()
            most = HELD * max(1, len(self._workers))
            if ended or (in_order and len(flying) + len(held) >= most):
                return None
            task = next(source, None)
            ended = task is None
            return task

        while True:
            self._recruit()
            load = Counter(worker for worker, _ in flying.values())
            for depth in range(IN_FLIGHT):
                for worker in self._workers:
                    if worker.waking is None and load[worker] <= depth:
                        task = following()
                        if task is not None:
                            call = getattr(worker.actor, method)
                            flying[call.remote(task.content)] = worker, task
                            load[worker] += 1
            if ended and not flying and not again:
                return
            waking = {w.waking: w for w in self._workers if w.waking is not None}
            for ref in self._first([*flying, *waking]):
                if ref in waking:
                    self._woken(waking[ref], ref)
                    continue
                worker, task = flying.pop(ref)
                try:
                    result = self._ray.get(ref)
                except self._ray.exceptions.RayTaskError as error:
                    raise _cause(error) from None
                except self._ray.exceptions.RayError as error:
                    self._lost(worker, task, error)
                    again.append(task)
                    continue
                if not in_order:
                    yield result
                    continue
                held[task.index] = result
                while due in held:
                    yield held.pop(due)
                    due += 1
            if flying:
                alive = time.monotonic()
            elif time.monotonic() - alive > PATIENCE_SECONDS:
                raise ClusterError(self._nobody())

    def _first(self, refs: list[Any]) -> list[Any]:
        """Those that are ready, waiting a moment for one."""
        if not refs:
            time.sleep(GLANCE_SECONDS / 5)
            return []
        ready: list[Any] = self._ray.wait(refs, num_returns=1, timeout=GLANCE_SECONDS)[0]
        return ready

    def _recruit(self) -> None:
        """Start a worker wherever there is a place without one."""
        if time.monotonic() - self._looked < GLANCE_SECONDS:
            return
        self._looked = time.monotonic()
        affinity = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        taken = {worker.place for worker in self._workers}
        for place in places(self._ray.nodes(), self._device):
            if place in taken:
                continue
            # A process that dies is started again on its machine; a machine that dies takes
            # its workers with it. Tasks are repeated here, not by Ray, which would hold them
            # for the same worker.
            actor = self._kind.options(
                num_cpus=place.cpus,
                num_gpus=place.gpus,
                max_restarts=-1,
                max_task_retries=0,
                max_concurrency=IN_FLIGHT + 1,
                scheduling_strategy=affinity(place.node, soft=False),
            ).remote(*self._arguments(place))
            self._workers.append(_Worker(place, actor, self._wake(actor)))

    def _wake(self, actor: Any) -> Any:
        return actor.ready.options(max_task_retries=-1).remote()

    def _woken(self, worker: _Worker, ref: Any) -> None:
        try:
            self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            raise _cause(error) from None
        except self._ray.exceptions.RayError as error:
            if getattr(error, "actor_init_failed", False):
                raise ClusterError(
                    f"The machine {worker.place.host} cannot load cellularity "
                    f"({_last_line(error)}); install the same version of it on every machine "
                    "of the cluster."
                ) from None
            self._workers.remove(worker)
        else:
            worker.waking = None

    def _lost(self, worker: _Worker, task: _Task, error: Exception) -> None:
        """Note that a worker went away with a task; it may come back."""
        task.losses += 1
        if task.losses >= LOSSES:
            raise ClusterError(
                f"The same work was lost with {LOSSES} workers, the last on "
                f"{worker.place.host} ({_last_line(error)}); the machines may be short of "
                "memory, so give Ray fewer CPUs on each. What is finished is kept."
            )
        if worker.waking is None:
            self._tell(f"A worker on {worker.place.host} was lost; its work is done again.")
            worker.waking = self._wake(worker.actor)

    def _nobody(self) -> str:
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        offered = sum(node["Resources"].get("CPU", 0) for node in nodes)
        return (
            f"No worker could be started for {PATIENCE_SECONDS:.0f} s: the cluster has "
            f"{len(nodes)} machine(s) with {offered:.0f} CPUs for Ray, and other jobs may hold "
            "them (`ray status` shows it); free or add some and run the command again. What is "
            "finished is kept."
        )


def _cause(error: Any) -> BaseException:
    """What a worker raised, without Ray's words around it."""
    return error.cause if isinstance(error.cause, Exception) else error


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
