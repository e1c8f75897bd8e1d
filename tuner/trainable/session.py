"""`report`, `get_checkpoint` and `get_context`: what a running trial can call."""

from __future__ import annotations

import logging
import math
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from numbers import Real
from typing import Any, Protocol

from tuner.checkpoint import Checkpoint, as_checkpoint
from tuner.errors import ReportError
from tuner.trainable.autofill import Autofill
from tuner.trainable.context import TuneContext

logger = logging.getLogger(__name__)

CONTINUE = "CONTINUE"
SAVE = "SAVE"

Deliver = Callable[[dict[str, Any], str | None], str]
"""Sends a complete result with its staged checkpoint's name and returns the decision on it."""


class Store(Protocol):
    """Where the checkpoints of an attempt go."""

    def staged(self, name: str) -> str:
        """Where a checkpoint is put together, for `keep`."""

    def add(self, checkpoint: Checkpoint, name: str) -> Checkpoint:
        """Copies a checkpoint; what it returns can be used once the checkpoint is reported."""

    def keep(self, name: str, *, is_dear: bool = True) -> Checkpoint:
        """The same for one that lies at `staged` already."""

    def discarding_failures(self, name: str) -> AbstractContextManager[None]:
        """While entered, a checkpoint that fails is removed."""


class TrialStopped(BaseException):
    """Raised out of `report()` when the trial is to end; not to be caught, only unwound.

    It is no `Exception`, so that `except Exception` in a training loop does not swallow it.
    """


class Session:
    """One attempt at a trial, as seen from inside.

    Args:
        context: What the trial can ask about itself.
        autofill: Completes its results.
        checkpoint: What it resumes from, None for a new start.
        next_checkpoint: Number of the next checkpoint.
        store: Where its checkpoints go.
        deliver: Sends a result and waits for the decision.

    Attributes:
        at_end: Called when the attempt has ended, with whether it failed.
        attached: What the next report carries, if it has no checkpoint of its own.
    """

    def __init__(
        self,
        *,
        context: TuneContext,
        autofill: Autofill,
        checkpoint: Checkpoint | None,
        next_checkpoint: int,
        store: Store,
        deliver: Deliver,
    ) -> None:
        self.context = context
        self.autofill = autofill
        self.checkpoint = checkpoint
        self.decision = CONTINUE
        self.is_save_wanted = False
        self.last_saved_iteration = autofill.iteration if checkpoint else -1
        self._next_checkpoint = next_checkpoint
        self.store = store
        self._deliver = deliver
        self._lock = threading.Lock()
        self.at_end: list[Callable[[bool], None]] = []
        self.attached: Checkpoint | None = None

    def report(
        self,
        metrics: dict[str, Any],
        *,
        checkpoint: Checkpoint | None = None,
        elapsed_s: float | None = None,
    ) -> None:
        """Delivers a result; raises `TrialStopped` if the trial is to stop or pause."""
        if not isinstance(metrics, dict):
            raise ReportError(
                f"report(metrics={metrics!r:.100}): metrics must be a dictionary of values, "
                'such as {"loss": 0.1}'
            )
        given, checkpoint = checkpoint, as_checkpoint(checkpoint)
        if given is not None and checkpoint is None:
            raise ReportError(
                f"report(checkpoint={given!r:.100}) must be a tuner.Checkpoint, such as "
                "Checkpoint.from_directory(path)"
            )
        if elapsed_s is not None and not _is_duration(elapsed_s):
            raise ReportError(
                f"report(elapsed_s={elapsed_s!r:.100}) must be a number of seconds >= 0"
            )
        with self._lock:
            if self.decision != CONTINUE:
                raise TrialStopped
            checkpoint, self.attached = checkpoint or self.attached, None
            name = None
            stored = None
            if checkpoint is not None:
                name = self.next_checkpoint_name()
                stored = self.store.add(checkpoint, name)
            result = self.autofill.fill(metrics, name, elapsed_s)
            if checkpoint is not None:
                self.last_saved_iteration = self.autofill.iteration
            self.deliver(result, name)
            if stored is not None:
                self.checkpoint = stored
            if self.decision != CONTINUE:
                raise TrialStopped

    def report_yielded(self, value: Any) -> None:
        """Delivers what a generator has yielded: `metrics`, or `(metrics, seconds)`."""
        if isinstance(value, tuple) and len(value) == 2:
            self.report(value[0], elapsed_s=value[1])
        else:
            self.report(value)

    def deliver(self, result: dict[str, Any], checkpoint: str | None) -> None:
        """Sends a complete result and keeps the decision on it."""
        decision = self._deliver(result, checkpoint)
        self.is_save_wanted = decision == SAVE
        self.decision = CONTINUE if decision == SAVE else decision
        self.autofill.restart_clock()

    def next_checkpoint_name(self) -> str:
        """The name of one more checkpoint of this trial."""
        name = f"checkpoint_{self._next_checkpoint:06d}"
        self._next_checkpoint += 1
        return name


_session: Session | None = None
_warned = False


def set_session(session: Session | None) -> None:
    """Makes `session` the one that `report` and its kin speak to in this process."""
    global _session
    ended, _session = _session, session
    if ended is not None and session is None:
        for call in ended.at_end:
            call(sys.exception() is not None)


def get_session() -> Session | None:
    """The session of the trial that runs in this process, None outside of one."""
    return _session


def report(
    metrics: dict[str, Any] | float | None = None,
    *,
    checkpoint: Checkpoint | None = None,
    elapsed_s: float | None = None,
    **older: Any,
) -> None:
    """Reports a result of the running trial, with a checkpoint if one is given.

    When it returns, result and checkpoint are durable. The trial's scheduler may decide to end
    the trial here: then an exception that `except Exception` does not catch leaves this call.
    Outside of a trial it warns once and does nothing, so that a script still runs alone.

    Args:
        metrics: Names and values. Numbers, strings, None, lists and nested dictionaries of them,
            numpy and torch values.
        checkpoint: A directory from which the trial can resume; one of `ray.train` will do. It is
            copied: the directory may be deleted as soon as the call returns.
        elapsed_s: Seconds that this result took, in place of the time since the last one. A
            simulation needs it, as there no time passes by itself.
        **older: Metrics by name, as an older API has it.

    Raises:
        ReportError: `metrics` is no dictionary, `checkpoint` no `Checkpoint`, or `elapsed_s` no
            number of seconds.

    Example:
        >>> def train(config):
        ...     for epoch in range(3):
        ...         report({"loss": config["lr"] / (epoch + 1)})
    """
    if older or not isinstance(metrics, dict):
        from tuner.legacy.keyword_report import as_metrics

        metrics = as_metrics(metrics, older)
    if _session is None:
        _warn_outside("report")
        return
    _session.report(metrics, checkpoint=checkpoint, elapsed_s=elapsed_s)


def get_checkpoint() -> Checkpoint | None:
    """The last checkpoint that the trial reported, in this attempt or before it; None without one.

    At the start of a function, it is what to resume from.
    """
    if _session is None:
        _warn_outside("get_checkpoint")
        return None
    return _session.checkpoint


def get_context() -> TuneContext:
    """Names, folder and resources of the running trial.

    Example:
        >>> get_context().get_trial_id() is None  # outside of a trial
        True
    """
    return TuneContext() if _session is None else _session.context


def _is_duration(value: object) -> bool:
    if type(value) is float:
        return 0 <= value < math.inf
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return 0 <= float(value) < math.inf


def _warn_outside(name: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        logger.warning("tuner.%s() was called outside of a trial: nothing is recorded", name)
