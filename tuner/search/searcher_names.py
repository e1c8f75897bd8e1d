"""What else searchers have: their states in a folder, and whole experiments to learn from."""

from __future__ import annotations

import logging
from typing import Any

from tuner.errors import StorageError
from tuner.flatten import lookup
from tuner.search.evaluated_trials import evaluated_trials

logger = logging.getLogger(__name__)

_STATE_FILE = "searcher-state-{}.pkl"


class SearcherNames:
    """Methods of a `Searcher`, by its `add_evaluated_point`, `save` and `restore`."""

    add_evaluated_point: Any
    save: Any
    restore: Any

    def add_evaluated_trials(self, trials_or_analysis: Any, metric: str) -> None:
        """Tells of the trials of another experiment, to learn from; see `from_experiment`.

        Args:
            trials_or_analysis: What `fit()` or `ExperimentAnalysis` has found: a `ResultGrid`, an
                analysis, one trial or result, or several of them.
            metric: The metric to read from the last result of each.

        Raises:
            ConfigError: It is nothing of the kind, or the searcher does not learn from results.
        """
        trials = evaluated_trials(trials_or_analysis)
        values = [None if trial.failed else lookup(trial.result, metric) for trial in trials]
        for trial, value in zip(trials, values, strict=True):
            if trial.failed or value is not None:
                self.add_evaluated_point(trial.config, value)
        if trials and all(value is None for value in values):
            logger.warning(
                "%s.add_evaluated_trials(metric=%r): none of %d trials has reported it",
                *(type(self).__name__, metric, len(trials)),
            )

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Writes the state to a file in a folder, whole or not at all.

        Args:
            checkpoint_dir: The folder, made if it does not exist.
            session_str: A part of the file's name; the same one replaces the file.
        """
        import os

        os.makedirs(checkpoint_dir, exist_ok=True)
        path = os.path.join(checkpoint_dir, _STATE_FILE.format(session_str))
        self.save(path + ".new")
        os.replace(path + ".new", path)

    def restore_from_dir(self, checkpoint_dir: str) -> None:
        """Goes on from the last state that `save_to_dir` wrote.

        Args:
            checkpoint_dir: The folder. The file is unpickled, so it must come from you.

        Raises:
            StorageError: There is none.
        """
        import glob
        import os

        pattern = os.path.join(glob.escape(checkpoint_dir), _STATE_FILE.format("*"))
        paths = glob.glob(pattern)
        if not paths:
            raise StorageError(
                f"{type(self).__name__}.restore_from_dir({checkpoint_dir!r}): there is no "
                f"{_STATE_FILE.format('*')}; give the folder that save_to_dir was called with"
            )
        self.restore(max(paths, key=os.path.getmtime))
