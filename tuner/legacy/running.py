"""Runs an experiment of the older APIs to its end."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from tuner.analysis import ExperimentAnalysis
from tuner.errors import TuneError
from tuner.experiment.trial import ERROR, Trial
from tuner.legacy.experiment import Experiment
from tuner.legacy.resume import resumed
from tuner.legacy.run_options import RunOptions
from tuner.legacy.sync import copy_finally

logger = logging.getLogger(__name__)

_NAMED_TRIALS = 10


def run_experiment(experiment: Experiment, options: RunOptions) -> ExperimentAnalysis:
    """Runs an experiment, or goes on with it, and returns what its folder holds then.

    Args:
        experiment: What is run.
        options: How.

    Raises:
        TunerError: The experiment as a whole cannot go on.
    """
    tuner = resumed(experiment, options) or experiment.tuner(options)
    try:
        grid = tuner.fit()
    except BaseException:
        if experiment.name is not None:
            copy_finally(experiment.place, experiment.place.folder_of(experiment.name))
        raise
    copy_finally(experiment.place, grid.experiment_path)
    return ExperimentAnalysis(grid.experiment_path, storage_filesystem=grid.filesystem)


def raise_failed(trials: Iterable[Trial], options: RunOptions) -> None:
    """Raises or logs that trials have failed, if any have.

    Raises:
        TuneError: Some have, and the user wants that to be raised.
    """
    failed = [trial for trial in trials if trial.status == ERROR]
    if not failed:
        return
    names = ", ".join(str(trial) for trial in failed[:_NAMED_TRIALS])
    if len(failed) > _NAMED_TRIALS:
        names += f" and {len(failed) - _NAMED_TRIALS} more"
    text = f"{len(failed)} of the trials failed: {names} (see their error.txt)"
    if options.raise_on_failed_trial:
        raise TuneError(f"{text}; raise_on_failed_trial=False returns the results nevertheless")
    logger.error("%s", text)
