"""An experiment as its folder has it: the last snapshot, and the journal since then."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tuner.callbacks.dispatch import CallbackDispatch
from tuner.errors import StorageError
from tuner.experiment.journal_reader import JournalReader
from tuner.experiment.journal_segments import Position
from tuner.experiment.snapshots import load_latest, random_state, set_random_state
from tuner.experiment.state import ExperimentState
from tuner.experiment.trial import Borrowed, Trial
from tuner.experiment.trial_table import TrialTable
from tuner.layout import CHECKPOINT, STAGED, staged_path
from tuner.plan import Plan
from tuner.search_space.objects import missing_objects
from tuner.search_space.variants import SearchSpace
from tuner.storage.storage import Storage
from tuner.trial_folder import TrialFolder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """An experiment as it was when the journal ended.

    Attributes:
        state: Trials and policies.
        position: Where the journal ends.
        replayed_bytes: How much of it was not in a snapshot.
        random_state: The global streams of random numbers.
        callbacks: The callbacks with the states that they had, if there was a `listen`.
        time: What time it was then, by the executor's clock.
    """

    state: ExperimentState
    position: Position
    replayed_bytes: int
    random_state: dict[str, Any]
    callbacks: CallbackDispatch | None
    time: float


def rebuild(
    plan: Plan,
    path: str,
    storage: Storage | None,
    taken_dirnames: frozenset[str],
    random_at_start: dict[str, Any],
    listen: Callable[[ExperimentState], CallbackDispatch] | None = None,
) -> Rebuilt:
    """Loads the last snapshot and replays what the journal has beyond it.

    Args:
        plan: The run as it was planned.
        path: The experiment's folder on this machine.
        storage: Its folder on remote storage, None without one.
        taken_dirnames: What lies in it.
        random_at_start: The global streams of random numbers when the run began.
        listen: Sets up the callbacks, which get their states back.

    Raises:
        JournalError: The journal is damaged.
    """
    spec = plan.spec(path, taken_dirnames)
    snapshot = load_latest(path)
    if snapshot is None:
        table = TrialTable(path, plan.retention, storage)
        state = ExperimentState(spec, table, plan.searcher, plan.scheduler, plan.stopper)
    else:
        state = snapshot.state
        state.spec = spec
        state.table.relocate(path, storage)
        state.searcher.set_param_space(plan.param_space.space)
    callbacks = listen(state) if listen else None
    if callbacks is not None and snapshot is not None:
        callbacks.set_states(snapshot.callbacks)
    reader = JournalReader(path, snapshot.position if snapshot else None)
    time = snapshot.time if snapshot else 0.0
    undisturbed = random_state()
    set_random_state(snapshot.random_state if snapshot else random_at_start)
    try:
        for fact in reader.read_all():
            state.replay(fact)
            time = fact.time
            if callbacks is not None:
                callbacks.catch_up(fact)
        reached = random_state()
    finally:
        set_random_state(undisturbed)
    return Rebuilt(
        state=state,
        position=reader.position,
        replayed_bytes=reader.num_bytes,
        random_state=reached,
        callbacks=callbacks,
        time=time,
    )


def give_objects(table: TrialTable, space: SearchSpace) -> None:
    """Gives trials that are to go on the objects of the search space, in place of recorded ones.

    Args:
        table: All trials.
        space: The search space in this process.

    Raises:
        StorageError: An object could not be loaded, and nothing takes its place.
    """
    for trial in table.trials:
        if trial.is_finished():
            continue
        trial.config.update(space.refreshed(trial.config, trial.chosen_objects))
        missing = next(missing_objects(trial.config), None)
        if missing is not None:
            raise StorageError(
                f"{trial}: the object at {missing!r} of its config cannot be loaded here, and "
                "param_space has none in its place; give it again: Tuner.restore(param_space=…)"
            )


def complete_checkpoints(table: TrialTable) -> None:
    """Does what the journal says of checkpoints and a killed controller had no time for."""
    for trial in table.trials:
        if not trial.attempt or (trial.storage and trial.is_finished()):
            continue
        here = set(os.listdir(trial.path)) if os.path.isdir(trial.path) else set()
        _complete_checkpoints(trial, here, _names_on_storage(trial), table.lent_names(trial))
    for trial in table.trials:
        if trial.borrowed is not None and not trial.is_finished():
            _check_borrowed(trial, trial.borrowed)


def _check_borrowed(trial: Trial, borrowed: Borrowed) -> None:
    donor, name = borrowed.donor, borrowed.saved.name
    path = os.path.join(donor.path, name)
    if not os.path.isdir(path) and name not in _names_on_storage(donor):
        logger.warning("%s is missing: %s goes on from a checkpoint of its own", path, trial)
        trial.borrowed = None


def _complete_checkpoints(
    trial: Trial, here: set[str], elsewhere: set[str], lent: set[str]
) -> None:
    for saved in [*trial.checkpoints]:
        if saved.name in here | elsewhere:
            continue
        staged = _staged(trial, saved.name, here)
        if staged is not None:
            os.rename(staged, os.path.join(trial.path, saved.name))
        else:
            logger.warning("%s: %s is missing, and is not used", trial.path, saved.name)
            trial.checkpoints.remove(saved)
    kept = {saved.name for saved in trial.checkpoints} | lent
    for name in here - kept:
        whole = CHECKPOINT.fullmatch(name)
        if STAGED.fullmatch(name) or (whole and int(whole[1]) < trial.next_checkpoint):
            shutil.rmtree(os.path.join(trial.path, name), ignore_errors=True)


def _staged(trial: Trial, name: str, here: set[str]) -> str | None:
    """Where a checkpoint lies that was not renamed, which may be of an attempt before the last."""
    for attempt in range(trial.attempt, 0, -1):
        staged = staged_path(trial.path, name, attempt)
        if os.path.basename(staged) in here:
            return staged
    return None


def _names_on_storage(trial: Trial) -> set[str]:
    if trial.storage is None or not trial.storage.is_shared:
        return set()
    folder = trial.storage.child(trial.dirname)
    return set(TrialFolder(folder.path, folder.fs).checkpoint_names())
