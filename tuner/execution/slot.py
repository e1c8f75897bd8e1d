"""The controller's view of the slots on a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tuner.execution.launchers import WorkerExit
from tuner.execution.process_executor import Needs, Worker
from tuner.execution.ray_cluster import Placement, kill
from tuner.execution.slot_protocol import LAUNCH, slot_frame
from tuner.execution.worker_line import WorkerLine


@dataclass(slots=True, eq=False)
class Slot:
    """Resources for one trial at a time, and the actor that runs trials there.

    Attributes:
        slot_id: Its number.
        needs: What trials it is for.
        placement: Its resources.
        since: Monotonic time at which they were asked for, or since which no trial is here.
        actor: Its actor, None while it has none.
        running: The reference of what the actor does.
        control: The connection to the actor; None before it is up.
        greeting: What the actor has told of itself.
        worker: The worker that it runs, None if it is free.
        ended: What became of that worker's process, once that is known.
        lost_at: Monotonic time at which the connection broke, 0 if it holds.
        cut_at: The same for the connection to the worker; 0 if this has told its end before.
        start_number: How many actors it has had.
        is_told_to_kill: Whether the actor was asked to kill its worker.
        is_probe: Whether its resources are asked for only to see that there is room for what the
            trial is to reserve itself; it has no actor then.
    """

    slot_id: int
    needs: Needs
    placement: Placement
    since: float
    actor: Any = None
    running: Any = None
    control: WorkerLine | None = None
    greeting: dict[str, Any] = field(default_factory=dict)
    worker: Worker | None = None
    ended: WorkerExit | None = None
    lost_at: float = 0.0
    cut_at: float = 0.0
    start_number: int = 0
    is_told_to_kill: bool = False
    is_probe: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether a worker can be started."""
        return self.control is not None and self.worker is None and not self.lost_at

    @property
    def is_empty(self) -> bool:
        """Whether it has resources and no actor."""
        return self.actor is None and not self.is_probe

    @property
    def is_idle(self) -> bool:
        """Whether it only holds resources."""
        return self.is_ready or self.is_empty

    @property
    def is_waiting(self) -> bool:
        """Whether its actor is not up yet."""
        return self.is_probe or (self.actor is not None and self.control is None)

    def start(self, worker: Worker) -> None:
        """Starts a worker here."""
        assert self.control is not None
        self.worker = worker
        self.control.send(slot_frame(LAUNCH, worker=worker.worker_id))

    def end_probe(self) -> None:
        """Gives back what has shown that there is room, and asks for next to nothing instead.

        Raises:
            NoAnswer: The head may be gone; nothing has changed.
        """
        probe = self.placement
        self.placement = Placement.ask([{}], self.needs.strategy, probe.head)
        self.is_probe = False
        probe.remove()

    def dismiss_actor(self) -> None:
        """Ends the actor; the resources stay."""
        if self.control is not None:
            self.control.close()
            self.control = None
        if self.actor is not None:
            kill(self.actor, self.placement.head)
            self.actor = self.running = None
