"""From facts to the hooks of the user's callbacks, in the controller's process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tuner.callbacks.blame import blame
from tuner.callbacks.callback import Callback
from tuner.callbacks.logger import LoggerCallback
from tuner.experiment.events import (
    CheckpointSaved,
    Fact,
    TrialChanged,
    TrialEnded,
    TrialLaunched,
    TrialResult,
)
from tuner.experiment.trial import ERROR, PENDING, TERMINATED, Trial
from tuner.experiment.trial_table import TrialTable


class CallbackDispatch:
    """Calls callbacks; without any, it costs nothing. What they raise is passed on, with a note.

    Args:
        callbacks: The user's callbacks.
        table: The trials that facts speak of.
    """

    def __init__(self, callbacks: Sequence[Callback], table: TrialTable) -> None:
        self._callbacks = callbacks
        self._table = table
        self._iteration = 0

    @property
    def keeps_state(self) -> bool:
        """Whether a callback has something to be kept for a restore."""
        return any(map(_keeps_state, self._callbacks))

    def get_states(self) -> list[tuple[str, Any]]:
        """What each callback wants to be given back after a restore, with the callback's kind."""
        return [(_kind(callback), callback.get_state()) for callback in self._callbacks]

    def set_states(self, states: Sequence[tuple[str, Any]]) -> None:
        """Gives the callbacks back what `get_states` returned in the run before.

        A callback of another kind than the one that had its place then gets nothing.
        """
        for callback, (kind, state) in zip(self._callbacks, states, strict=False):
            if state is not None and kind == _kind(callback):
                callback.set_state(state)

    def begin_step(self) -> None:
        """Called before the controller waits for news."""
        self._iteration += 1
        info = self._info()
        self._call(lambda callback: callback.on_step_begin(**info))

    def end_step(self) -> None:
        """Called after the controller has acted on news."""
        info = self._info()
        self._call(lambda callback: callback.on_step_end(**info))

    def dispatch(self, facts: Sequence[Fact]) -> None:
        """Tells the callbacks of facts that are in the journal."""
        if not self._callbacks:
            return
        for fact in facts:
            if isinstance(fact, TrialLaunched):  # loggers open their files there
                os.makedirs(self._table[fact.trial_id].path, exist_ok=True)
        self._call(lambda callback: self._tell_all(callback, facts))

    def catch_up(self, fact: Fact) -> None:
        """Tells those that keep a state of a fact after which the run before was killed."""
        self._call(
            lambda callback: self._tell(callback, fact), filter(_keeps_state, self._callbacks)
        )

    def end_experiment(self) -> None:
        """Called once, when nothing runs any more."""
        trials = self._table.trials
        self._call(lambda callback: callback.on_experiment_end(trials=trials))

    def close(self) -> None:
        """Closes the loggers, also after an error."""
        for callback in self._callbacks:
            if isinstance(callback, LoggerCallback):
                callback.close()

    def _call(
        self, hook: Callable[[Callback], None], callbacks: Iterable[Callback] | None = None
    ) -> None:
        for callback in self._callbacks if callbacks is None else callbacks:
            try:
                hook(callback)
            except Exception as error:
                blame(error, callback)
                raise

    def _tell_all(self, callback: Callback, facts: Iterable[Fact]) -> None:
        for fact in facts:
            self._tell(callback, fact)

    def _tell(self, callback: Callback, fact: Fact) -> None:
        if isinstance(fact, TrialResult):
            trial = self._table[fact.trial_id]
            context = self._context(trial)
            callback.on_trial_result(**context, result=fact.result)
            if fact.checkpoint is not None:
                self._tell_saved(callback, trial)
        elif isinstance(fact, TrialLaunched):
            trial = self._table[fact.trial_id]
            context = self._context(trial)
            callback.on_trial_start(**context)
            if fact.attempt > 1 and isinstance(callback, LoggerCallback):
                callback.on_trial_rewound(trial, fact.num_results)
            if fact.checkpoint is not None:
                callback.on_trial_restore(**context)
        elif isinstance(fact, CheckpointSaved):
            self._tell_saved(callback, self._table[fact.trial_id])
        elif isinstance(fact, TrialChanged):
            if fact.is_visible:
                callback.on_trial_change(**self._context(self._table[fact.trial_id]))
        elif isinstance(fact, TrialEnded):
            self._tell_ended(callback, fact)

    def _tell_saved(self, callback: Callback, trial: Trial) -> None:
        context = self._context(trial)
        callback.on_trial_save(**context)
        if trial.checkpoint is not None:
            callback.on_checkpoint(**context, checkpoint=trial.checkpoint)

    def _tell_ended(self, callback: Callback, fact: TrialEnded) -> None:
        context = self._context(self._table[fact.trial_id])
        if fact.status == TERMINATED:
            callback.on_trial_complete(**context)
        elif fact.status == ERROR:
            callback.on_trial_error(**context)
        elif fact.status == PENDING:
            callback.on_trial_recover(**context)

    def _context(self, trial: Trial) -> dict[str, Any]:
        return {**self._info(), "trial": trial}

    def _info(self) -> dict[str, Any]:
        return {"iteration": self._iteration, "trials": self._table.trials}


def _kind(callback: Callback) -> str:
    return f"{type(callback).__module__}.{type(callback).__qualname__}"


def _keeps_state(callback: Callback) -> bool:
    return type(callback).get_state is not Callback.get_state
