"""Runs one attempt at a trial in this process; the same for every executor."""

from __future__ import annotations

import inspect
import logging
import os
import traceback
from collections.abc import Callable, Generator
from typing import Any, Protocol

from tuner import codec
from tuner.execution.checkpoint_store import CheckpointStore
from tuner.execution.process import flush_c_output
from tuner.execution.protocol import Assignment
from tuner.placement import PlacementGroupFactory
from tuner.result_fields import ANONYMOUS_METRIC, SHOULD_CHECKPOINT
from tuner.trainable.autofill import Autofill
from tuner.trainable.context import TuneContext
from tuner.trainable.session import CONTINUE, Deliver, Session, TrialStopped, set_session
from tuner.trainable.trainable import Trainable, can_be_saved, is_trainable_class

logger = logging.getLogger(__name__)

PAUSE = "PAUSE"
_LARGEST_ERROR = 64 * 1024  # bytes
_MISUSE_OF_RAY_TRAIN = "cannot be used outside of a Ray Train training function"

_named_metrics: set[Any] = set()  # that cannot be stored, in this process


class Channel(Protocol):
    """Where an attempt sends what happens."""

    def deliver(self, result: dict[str, Any], checkpoint: str | None) -> str:
        """Sends a result and returns the decision on it."""

    def saved(self, checkpoint: str) -> None:
        """Tells of a checkpoint that was staged outside of a report."""


class AttemptRunner:
    """Runs attempts one after the other, keeping a class trainable's object between them.

    Args:
        trainable: The function or class.
        hostname: Name of this machine.
        node_ip: Address of this machine.
    """

    def __init__(self, trainable: Any, *, hostname: str, node_ip: str) -> None:
        self._trainable = trainable
        self._hostname = hostname
        self._node_ip = node_ip
        self._object: Trainable | None = None

    def run(self, assignment: Assignment, channel: Channel) -> bool:
        """Runs an attempt to its end; an error of the user's code is raised.

        Returns:
            Whether it had nothing more to do; False if it was told to end, or signalled.
        """
        config = codec.decode(assignment.config)
        session = self._session(assignment, channel)
        set_session(session)
        try:
            if is_trainable_class(self._trainable):
                self._run_class(self._trainable, assignment, session, config, channel)
            else:
                run_function(self._trainable, session, config)
        except TrialStopped:
            return False
        finally:
            set_session(None)
            flush_c_output()
        return session.decision == CONTINUE

    def _session(self, assignment: Assignment, channel: Channel) -> Session:
        autofill = Autofill(
            trial_id=assignment.trial_id,
            progress=assignment.progress,
            hostname=self._hostname,
            node_ip=self._node_ip,
            pid=os.getpid(),
        )
        return new_session(assignment, autofill, channel.deliver)

    def _run_class(
        self,
        trainable: type[Trainable],
        assignment: Assignment,
        session: Session,
        config: dict[str, Any],
        channel: Channel,
    ) -> None:
        training = self._make(trainable, session, config)
        try:
            if session.checkpoint is not None:
                training.restore(session.checkpoint)
            session.autofill.restart_clock()
            while session.decision == CONTINUE:
                train_once(training, assignment, session)
                if session.is_save_wanted and can_be_saved(trainable) and not _is_saved(session):
                    channel.saved(save_training(training, session))
                    session.autofill.restart_clock()
            if must_save(trainable, assignment, session):
                channel.saved(save_training(training, session))
        except BaseException as error:
            self._object = None
            _cleanup_after(training, error)
            raise
        if not assignment.keep_worker:
            self._object = None
            training.stop()

    def _make(
        self, trainable: type[Trainable], session: Session, config: dict[str, Any]
    ) -> Trainable:
        """An object for this trial: the last trial's, if it can be reset, else a new one."""
        kept = self._object
        if kept is not None:
            kept.use(session.context, session.autofill)
            if kept.reset(config):
                return kept
            self._object = None
            kept.stop()
        self._object = trainable(config)
        self._object.use(session.context, session.autofill)
        return self._object

    def close(self) -> None:
        """Cleans up the object that was kept for another trial."""
        if self._object is not None:
            self._object.stop()
            self._object = None


def new_session(assignment: Assignment, autofill: Autofill, deliver: Deliver) -> Session:
    """The session of an attempt."""
    context = TuneContext(
        experiment_name=assignment.experiment_name,
        trial_id=assignment.trial_id,
        trial_name=assignment.trial_name,
        trial_dir=assignment.path,
        trial_resources=PlacementGroupFactory(assignment.bundles, assignment.strategy),
        attempt=assignment.attempt,
    )
    return Session(
        context=context,
        autofill=autofill,
        checkpoint=assignment.checkpoint,
        next_checkpoint=assignment.next_checkpoint,
        store=_store(assignment),
        deliver=deliver,
    )


def encode_result(result: dict[str, Any]) -> bytes:
    """A result as it is sent; what cannot be is named once, and its `repr` goes in its place."""
    raw = codec.encode_metrics(result)
    for name in codec.lost_metrics(result, raw):
        if name not in _named_metrics:
            _named_metrics.add(name)
            logger.warning(
                "report({%r: %.80r}): this cannot be stored, only its text is; report numbers, "
                "strings, arrays or what can be pickled",
                name,
                result[name],
            )
    return raw


def format_error(error: BaseException) -> str:
    """The traceback of an error of the user's code, without frames of this library above it."""
    if _MISUSE_OF_RAY_TRAIN in str(error):
        error.add_note(
            "In a trial, call tuner.report, tuner.get_checkpoint and tuner.get_context in place of "
            "those of ray.train, which are for the workers of a trainer."
        )
    library = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(library):
        frames = frames.tb_next
    shown = frames or error.__traceback__  # an error of the library's own is shown whole
    return "".join(traceback.format_exception(type(error), error, shown)).rstrip()


def pickled_error(error: BaseException) -> bytes | None:
    """The exception without its traceback; None if it cannot be pickled, or is large."""
    import cloudpickle

    try:
        pickled: bytes = cloudpickle.dumps(error)
    except Exception:
        return None
    return pickled if len(pickled) <= _LARGEST_ERROR else None


def _store(assignment: Assignment) -> CheckpointStore:
    store = CheckpointStore(assignment.path, assignment.attempt)
    if assignment.home is not None:
        from tuner.execution.sent_checkpoint_store import SentCheckpointStore

        store = SentCheckpointStore(
            assignment.path, assignment.attempt, assignment.home, assignment.upload_timeout_s
        )
    if assignment.storage is None:
        return store

    from tuner.execution.remote_checkpoint_store import RemoteCheckpointStore

    return RemoteCheckpointStore(
        assignment.path,
        assignment.attempt,
        assignment.storage,
        assignment.upload_timeout_s,
        assignment.lease,
        fallback=store,
    )


def run_function(function: Callable[..., Any], session: Session, config: dict[str, Any]) -> None:
    """Calls a function trainable, and reports what it yields and returns."""
    returned = function(config)
    if inspect.isgenerator(returned):
        returned = _report_all(returned, session)
    report_returned(returned, session)


def report_returned(returned: Any, session: Session) -> None:
    """Reports what a function returned, if it is a result."""
    if isinstance(returned, dict):
        session.report(returned)
    elif isinstance(returned, (int, float)) and not isinstance(returned, bool):
        session.report({ANONYMOUS_METRIC: returned})
    elif returned is not None:
        logger.warning(
            "%s returned a %s, which is not recorded; return a dictionary of metrics or a number",
            session.context.get_trial_name(),
            type(returned).__name__,
        )


def _report_all(generator: Generator[Any, Any, Any], session: Session) -> Any:
    """Reports everything that a function yields; its return value is the last result."""
    try:
        while True:
            try:
                yielded = next(generator)
            except StopIteration as end:
                return end.value
            session.report_yielded(yielded)
    finally:
        generator.close()


def train_once(training: Trainable, assignment: Assignment, session: Session) -> None:
    """Trains a class trainable for one iteration, saves it if that is due, and reports."""
    result = training.train()
    every = assignment.checkpoint_frequency
    due = every and session.autofill.iteration % every == 0
    at_end = assignment.checkpoint_at_end and result.get("done")
    name = None
    if due or at_end or result.get(SHOULD_CHECKPOINT):
        name = save_training(training, session)
        result["checkpoint_dir_name"] = name
    session.deliver(result, name)


def must_save(trainable: Any, assignment: Assignment, session: Session) -> bool:
    """Whether a trainable that was told to end is to be saved before."""
    if _is_saved(session) or not can_be_saved(trainable):
        return False
    return assignment.checkpoint_at_end or session.decision == PAUSE


def _is_saved(session: Session) -> bool:
    return session.last_saved_iteration == session.autofill.iteration


def save_training(training: Trainable, session: Session) -> str:
    """Saves a training object as a checkpoint and returns the checkpoint's name."""
    name = session.next_checkpoint_name()
    with session.store.discarding_failures(name):
        training.save(session.store.staged(name))
        session.store.keep(name)
    session.last_saved_iteration = session.autofill.iteration
    return name


def _cleanup_after(training: Trainable, error: BaseException) -> None:
    try:
        training.stop()
    except Exception as second:
        error.add_note(f"cleanup() failed as well: {second!r}")
