"""The Ray executor: worker processes on the nodes of a Ray cluster.

Ray places trials, keeps processes alive and tells of nodes that are lost; results and decisions
travel over connections of our own, by the protocol of all worker processes.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import queue
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tuner.bundles import sum_bundles
from tuner.errors import ResourceError, TrainableError, TunerError
from tuner.execution import ray_cluster
from tuner.execution.cluster_survey import Survey
from tuner.execution.executor import Job
from tuner.execution.launchers import WorkerExit
from tuner.execution.patience import Patience
from tuner.execution.process_executor import Needs, ProcessExecutor, Worker, needs
from tuner.execution.protocol import Assignment
from tuner.execution.ray_cluster import Placement
from tuner.execution.ray_head import Head, NoAnswer
from tuner.execution.ray_options import RayOptions
from tuner.execution.slot import Slot
from tuner.execution.slot_protocol import EXITED, KILL, parse_exited, slot_frame
from tuner.execution.slot_starter import SlotStarter
from tuner.execution.surveyor import Surveyor
from tuner.execution.uses_ray import uses_ray
from tuner.execution.worker_line import WorkerLine
from tuner.experiment.events import CapacityChanged, Failed, Stimulus

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_REASON_WITHIN_S = 5.0  # Ray tells a little later why an actor is gone than its connection breaks
_CREATED_WITHIN_S = 2.0
_MOST_FAILED_STARTS = 3
_PLACED_WITHIN_S = 0.05  # what there is room for

News = Callable[[float, list[Stimulus]], None]


class RayExecutor(ProcessExecutor):
    """Runs trials on a Ray cluster.

    A slot of the cluster, which Ray places as a placement group, runs one trial after the other in
    worker processes of its own. Trials that call Ray themselves run in the process of the slot's
    actor: functions that refer to `ray`, RLlib, and whatever asks for more than one bundle.

    Args:
        address: The cluster; by default `RAY_ADDRESS`, else one that is started on this machine.
            Without effect where `ray.init` was called before.
        runtime_env: What Ray is to prepare for trials, beside the `runtime_env` of `ray.init`.
        uses_ray: Whether trials call Ray themselves; by default this is found out.
        shared_storage: Whether all nodes see the experiment's folder; by default each looks. Files
            of trials on nodes that do not see it are sent to this machine.
        idle_timeout_s: Seconds after which resources that no trial wants are given back;
            `math.inf` for never.
        infeasible_timeout_s: Seconds after which trials fail that ask for more than the nodes have;
            so long a cluster has to grow. By default 900 with an autoscaler, 60 without one;
            `math.inf` for ever.

    Raises:
        ConfigError: An argument cannot work.

    Example:
        >>> RayExecutor(uses_ray=True)
        RayExecutor(uses_ray=True)
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        runtime_env: dict[str, Any] | None = None,
        uses_ray: bool | None = None,
        shared_storage: bool | None = None,
        idle_timeout_s: float = 60.0,
        infeasible_timeout_s: float | None = None,
    ) -> None:
        self._options = RayOptions(
            address=address,
            runtime_env=runtime_env,
            uses_ray=uses_ray,
            shared_storage=shared_storage,
            idle_timeout_s=idle_timeout_s,
            infeasible_timeout_s=infeasible_timeout_s,
        )

    @property
    def address(self) -> str | None:
        """The cluster's address, as it was given."""
        return self._options.address

    def __repr__(self) -> str:
        return f"RayExecutor({self._options})"

    def __getstate__(self) -> dict[str, Any]:
        """Only what was configured: a running executor does not travel."""
        return {"_options": self._options}

    def start(self, job: Job) -> None:
        """Connects to the cluster; slots follow when they are needed."""
        ray_cluster.connect(self._options.address)
        self._runs_in_actors = self._options.uses_ray
        if self._runs_in_actors is None:
            self._runs_in_actors = uses_ray(job.trainable, job.param_space)
        super().start(job)

    def wait(self, timeout: float | None) -> list[Stimulus]:
        """Waits for messages of workers, for news of the cluster, or until something is due."""
        if self._held:
            self._ask_for_slots()
        stimuli = super().wait(timeout)
        if time.monotonic() >= self._look_at:
            self._look(stimuli)
        return stimuli

    def shutdown(self) -> None:
        """Ends all that runs, and waits for the head of the cluster to know, but not for long."""
        with contextlib.ExitStack() as last:
            last.callback(self._head.catch_up)
            super().shutdown()

    # What concerns the whole

    def _open(self) -> None:
        # Trainers of ray.train ask for the bundles of their trial by themselves.
        self._reserves_itself = getattr(self._job.trainable, "reserves_itself", False)
        self._slots: dict[int, Slot] = {}
        self._slot_of: dict[int, Slot] = {}  # by worker id
        self._failed_starts: collections.Counter[Needs] = collections.Counter()
        self._asked: set[str] = set()
        self._last_asked: dict[str, float] = {}
        self._total: dict[str, float] = {}
        self._patience = Patience(self._options.infeasible_timeout_s)
        self._surveyor = Surveyor(lambda survey: self._post(partial(self._take_in_survey, survey)))
        self._look_at = 0.0
        self._next_slot_id = 0
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._head = Head()
        self._survey = ray_cluster.first_survey(self._head)
        self._tell_capacity(self._survey, self._waiting)
        options = self._options
        self._starter = SlotStarter(  # the last, as it starts processes
            self._job, options.runtime_env, options.shared_storage, self._on_connection
        )

    def _close(self) -> None:
        """Ends all slots, and the workers with them."""
        with contextlib.ExitStack() as last:
            self._await_actors()
            slots = [*self._slots.values()]
            for slot in slots:
                last.callback(slot.placement.remove)
            last.callback(self._starter.close)
            last.callback(self._surveyor.close)
            for slot in slots:
                if slot.control is not None:
                    slot.control.close()
            up = [slot.running for slot in slots if slot.control is not None and slot.running]
            ray_cluster.wait_for(up, self._grace_s)

    def _await_actors(self) -> None:
        """Lets actors come up that are on their way; one that is killed then crashes at length."""
        coming: list[Slot] = []
        waiting = [slot for slot in self._slots.values() if slot.is_waiting and slot.actor]
        with contextlib.suppress(NoAnswer):
            coming += (slot for slot in waiting if self._head.ask(slot.placement.is_placed))
        deadline = time.monotonic() + _CREATED_WITHIN_S
        with contextlib.suppress(queue.Empty):
            while any(slot.is_waiting for slot in coming):
                news = self._news.get(timeout=max(deadline - time.monotonic(), 0.0))
                with contextlib.suppress(TunerError):
                    news(time.time(), [])

    def _due(self) -> float:
        return min(self._look_at, super()._due())

    def _post(self, news: News) -> None:
        """Has something done by the thread that waits; safe in any thread."""
        self._news.put(news)
        self.wake()

    def _on_ready(self, ready: set[int], now: float, stimuli: list[Stimulus]) -> None:
        while not self._news.empty():
            self._news.get()(now, stimuli)

    # Workers

    def _new_worker(self, assignment: Assignment) -> Worker | None:
        """A worker in a slot that is free, None without one: it will be asked for."""
        self._note_asked(assignment)
        wanted = needs(assignment)
        slot = next((s for s in self._slots.values() if s.is_ready and s.needs == wanted), None)
        if slot is None:
            return None
        worker = self._add_worker({})
        self._slot_of[worker.worker_id] = slot
        slot.start(worker)
        return worker

    def _note_asked(self, assignment: Assignment) -> None:
        asked = sum_bundles(assignment.bundles)
        self._asked |= asked.keys()
        self._last_asked = asked
        if any(amount > self._total.get(name, 0.0) for name, amount in asked.items()):
            self._look_at = 0.0  # others have to know at once that this does not take from them

    def _launch_held(self) -> None:
        free = {slot.needs for slot in self._slots.values() if slot.is_ready}
        free |= {needs(worker.assignment) for worker in self._idle if worker.assignment}
        going = [assignment for assignment in self._held if needs(assignment) in free]
        self._held = [assignment for assignment in self._held if needs(assignment) not in free]
        for assignment in going:
            self.launch(assignment)

    def _fitted(self, assignment: Assignment, worker: Worker) -> Assignment:
        slot = self._slot_of[worker.worker_id]
        return self._starter.fitted(assignment, slot, worker.worker_id)

    def _kill(self, worker: Worker, signum: int) -> None:
        slot = self._slot_of[worker.worker_id]
        if slot.control is not None and slot.control.is_open and not slot.is_told_to_kill:
            slot.is_told_to_kill = signum == signal.SIGKILL
            slot.control.send(slot_frame(KILL, worker=worker.worker_id, signal=signum))
        elif slot.actor is not None:
            ray_cluster.kill(slot.actor, self._head)

    def _release(self, worker: Worker) -> None:
        slot = self._slot_of.pop(worker.worker_id)
        slot.worker = slot.ended = None
        slot.is_told_to_kill = False
        slot.cut_at = 0.0
        slot.since = time.monotonic()
        if self._reserves_itself:
            self._drop(slot)  # there may be no room for another trial
            if (had := worker.assignment) is not None:
                ray_cluster.remove_noted_group(had.trial_id, had.attempt, self._head)
        elif self._runs_in_actor(slot.needs):
            slot.dismiss_actor()  # the next trial gets a fresh process

    def _on_message(self, worker: Worker, now: float, stimuli: list[Stimulus]) -> bool:
        more = super()._on_message(worker, now, stimuli)
        if not more:
            self._conclude_exit(worker, now, stimuli)
        return more

    def _conclude_exit(self, worker: Worker, now: float, stimuli: list[Stimulus]) -> None:
        """Tells of a process that is gone, once everything has come that it had sent."""
        slot = self._slot_of.get(worker.worker_id)
        if slot is None or worker.line.is_open:
            return
        if slot.ended is not None:
            ended, slot.ended = slot.ended, None
            self._on_exit(ended, now, stimuli)
        elif worker.outcome is None:
            slot.cut_at = slot.cut_at or time.monotonic()

    # Slots

    def _runs_in_actor(self, wanted: Needs) -> bool:
        return bool(self._runs_in_actors) or len(wanted.bundles) > 1

    def _ask_for_slots(self) -> None:
        """Asks for as many slots as assignments are held for the want of one."""
        held = collections.Counter(needs(assignment) for assignment in self._held)
        for wanted, count in held.items():
            refusal = self._patience.refuses(wanted, self._survey)
            if refusal is not None:
                self._fail_held(wanted, refusal)
                continue
            mine = [slot for slot in self._slots.values() if slot.needs == wanted]
            empty = [slot for slot in mine if slot.is_empty][:count]
            waiting = [slot for slot in mine if slot.is_waiting]
            try:
                for _ in range(count - len(empty) - len(waiting)):
                    empty.append(self._new_slot(wanted))
            except ResourceError as error:
                self._fail_held(wanted, str(error))
                continue
            except NoAnswer:
                return
            self._start_actors(wanted, [slot for slot in empty if not slot.is_probe])
            if empty and waiting:
                self._drop_unplaced(waiting, keep=count - len(empty))

    def _drop_unplaced(self, waiting: list[Slot], keep: int) -> None:
        """Asks no more for slots in whose stead others became free, if these are not placed yet."""
        for slot in waiting[max(keep, 0) :]:
            with contextlib.suppress(NoAnswer):
                if not self._head.ask(slot.placement.is_placed):
                    self._drop(slot)

    def _new_slot(self, wanted: Needs) -> Slot:
        slot_id = self._next_slot_id = self._next_slot_id + 1
        placement = Placement.ask(wanted.bundles, wanted.strategy, self._head)
        self._slots[slot_id] = slot = Slot(slot_id, wanted, placement, time.monotonic())
        slot.is_probe = self._reserves_itself
        if slot.is_probe:
            self._look_at = min(self._look_at, time.monotonic() + _PLACED_WITHIN_S)
        return slot

    def _start_actors(self, wanted: Needs, slots: list[Slot]) -> None:
        for slot in slots:
            slot.since, slot.lost_at = time.monotonic(), 0.0
        self._starter.start(
            slots,
            runs_in_actor=self._runs_in_actor(wanted),
            on_end=lambda *ended: self._post(partial(self._on_actor_end, *ended)),
        )

    def _on_connection(self, sock: socket.socket, hello: dict[str, Any]) -> None:
        self._post(partial(self._welcome, sock, hello))

    def _welcome(
        self, sock: socket.socket, hello: dict[str, Any], now: float, stimuli: list[Stimulus]
    ) -> None:
        """Takes in a connection of a slot or of its worker."""
        slot = self._slots.get(hello["slot"])
        worker = None if slot is None else slot.worker
        if slot is not None and hello["role"] == "control" and slot.is_waiting:
            control = WorkerLine(self._selector, partial(self._on_control, slot))
            control.connect(sock)
            slot.control, slot.greeting, slot.since = control, hello, time.monotonic()
            slot.lost_at = 0.0
            self._patience.forget(slot.needs)
            del self._failed_starts[slot.needs]
            self._launch_held()
        elif worker is not None and worker.worker_id == hello.get("worker"):
            if hello["role"] == "line":
                worker.line.connect(sock)
            else:
                worker.line.connect_output(sock.detach())
        else:
            sock.close()

    def _on_control(self, slot: Slot, now: float, stimuli: list[Stimulus]) -> None:
        control = slot.control
        assert control is not None
        for kind, body in control.receive() or ():
            if kind == EXITED and slot.worker is not None:
                slot.ended = parse_exited(body)
                slot.since = time.monotonic()
                self._conclude_exit(slot.worker, now, stimuli)
        if slot.control is control and not control.is_open:
            slot.lost_at = time.monotonic()

    def _on_actor_end(
        self,
        slot: Slot,
        start: int,
        error: BaseException | None,
        now: float,
        stimuli: list[Stimulus],
    ) -> None:
        """An actor is gone, or has nothing more to do."""
        if self._slots.get(slot.slot_id) is not slot or slot.start_number != start:
            return
        if slot.actor is None:  # it was dismissed
            return
        if error is None:  # it has told how its worker ended
            slot.lost_at = slot.lost_at or time.monotonic()
        elif slot.control is not None and ray_cluster.is_unavailable(error):
            slot.lost_at = slot.lost_at or time.monotonic()
            on_end = partial(self._on_actor_end, slot, start)
            ray_cluster.ask_for_end(slot.actor, lambda error: self._post(partial(on_end, error)))
        elif slot.control is not None:
            cause, kind = getattr(error, "cause", None), type(error).__name__
            why = f"{error}\nthe process ended before the trial was over ({kind} of Ray, above)"
            self._lose(slot, str(cause) if isinstance(cause, TrainableError) else why, now, stimuli)
        else:
            self._on_failed_start(slot, error, now, stimuli)

    def _on_failed_start(
        self, slot: Slot, error: BaseException, now: float, stimuli: list[Stimulus]
    ) -> None:
        self._drop(slot)
        cause = getattr(error, "cause", None)
        if isinstance(cause, TrainableError):
            raise TrainableError(str(cause)) from None  # it is in the text
        if type(error).__name__ == "RuntimeEnvSetupError":
            raise TunerError(f"Ray could not prepare the runtime_env of trials: {error}") from error
        self._failed_starts[slot.needs] += 1
        if self._failed_starts[slot.needs] < _MOST_FAILED_STARTS:
            logger.warning("a slot for trials could not be started, another one is: %s", error)
            return
        del self._failed_starts[slot.needs]
        self._fail_held(slot.needs, f"no slot for it could be started: {error}")

    def _lose(self, slot: Slot, why: str, now: float, stimuli: list[Stimulus]) -> None:
        """A slot is gone; the trial there is tried again elsewhere."""
        worker, node_id = slot.worker, slot.greeting.get("node_id", "")
        is_lost = not why or ray_cluster.is_lost(node_id, self._head)
        self._drop(slot)
        if worker is not None:
            why = why or "the connection to its node broke"
            ended = slot.ended or WorkerExit(worker.worker_id, -9, why, is_lost)
            self._on_exit(ended, now, stimuli)

    def _drop(self, slot: Slot) -> None:
        """Gives a slot's resources back."""
        self._slots.pop(slot.slot_id, None)
        slot.dismiss_actor()
        slot.placement.remove()

    def _fail_held(self, wanted: Needs, error: str) -> None:
        for assignment in [each for each in self._held if needs(each) == wanted]:
            self._held.remove(assignment)
            text = f"{ResourceError.__name__}: {error}"
            failed = Failed(time.time(), assignment.trial_id, assignment.attempt, text)
            self._waiting.append(failed)

    # What is looked after now and then

    def _look(self, stimuli: list[Stimulus]) -> None:
        now = time.monotonic()
        self._look_at = now + _LOOK_EVERY_S
        self._starter.revive()
        for slot in [*self._slots.values()]:
            if slot.is_waiting:
                if now - slot.since > _LOOK_EVERY_S:
                    self._make_room(slot)
            elif slot.lost_at:
                if now - slot.lost_at > _REASON_WITHIN_S:
                    self._lose(slot, "", time.time(), stimuli)
            elif slot.worker is None or slot.worker in self._idle:
                if now - slot.since > self._options.idle_timeout_s:
                    self._drop(slot) if slot.worker is None else self._dismiss(slot.worker)
            elif slot.cut_at:
                if now - slot.cut_at > _REASON_WITHIN_S:
                    why = "the connection to its worker broke, which was killed"
                    self._lose(slot, why, time.time(), stimuli)
            elif slot.ended is None:
                slot.since = now
            elif now - slot.since > _REASON_WITHIN_S:
                slot.worker.line.close()
                self._conclude_exit(slot.worker, time.time(), stimuli)
        waiting = {slot.slot_id: slot.placement for slot in self._slots.values() if slot.is_waiting}
        self._surveyor.ask(waiting)

    def _make_room(self, waiting: Slot) -> None:
        """Gives up what no trial wants for now, in favour of a slot that waits."""
        wanted = {needs(assignment) for assignment in self._held}
        for slot in [*self._slots.values()]:
            if slot.needs not in wanted and slot is not waiting:
                if slot.is_idle:
                    self._drop(slot)
                elif slot.worker in self._idle:
                    self._dismiss(slot.worker)

    def _take_in_survey(self, survey: Survey, now: float, stimuli: list[Stimulus]) -> None:
        self._survey = survey
        wanted = {needs(assignment) for assignment in self._held}
        for slot in [*self._slots.values()]:
            if slot.slot_id in survey.placed:
                if slot.is_probe:
                    with contextlib.suppress(NoAnswer):
                        slot.end_probe()
                        self._start_actors(slot.needs, [slot])
            elif slot.is_waiting and slot.needs not in wanted:
                self._drop(slot)  # an autoscaler is not to add a node for it
            elif slot.is_waiting:
                refusal = self._patience.look(slot.needs, time.monotonic() - slot.since, survey)
                if refusal is not None:
                    self._drop(slot)
                    self._fail_held(slot.needs, refusal)
        self._tell_capacity(survey, stimuli)

    def _tell_capacity(self, survey: Survey, stimuli: list[Stimulus]) -> None:
        """Tells what there is, and beyond it what waits for the cluster to grow."""
        slots = self._slots.values()
        waiting = [sum_bundles(slot.needs.bundles) for slot in slots if slot.is_waiting]
        num_running = sum(slot.worker is not None for slot in slots)
        total = survey.with_more_to_come(self._asked, waiting, self._last_asked, num_running)
        self.absent = {name: n - survey.total.get(name, 0.0) for name, n in total.items()}
        if total != self._total:
            self._total = total
            stimuli.append(CapacityChanged(time.time(), total, can_grow=True))
