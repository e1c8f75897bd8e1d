"""`Tuner`: runs an experiment for the user's configs, and hands out its results."""

from __future__ import annotations

import dataclasses
import os
import time
from contextlib import nullcontext
from datetime import timedelta
from typing import Any, Literal

from tuner.callbacks.blame import begin_at_callback
from tuner.config import ResumeConfig, RunConfig, TuneConfig
from tuner.errors import ConfigError, TunerError
from tuner.execution import ray_client
from tuner.execution.loading import is_loading
from tuner.execution.process import open_standard_descriptors
from tuner.experiment.folder import default_storage_path, new_folder
from tuner.plan import Plan, make_plan
from tuner.rerunning import said_anew, unheeded
from tuner.result_grid import ResultGrid
from tuner.running import Changes, run_new, run_restored, stored_results
from tuner.search_space.objects import difference, outline
from tuner.search_space.variants import SearchSpace
from tuner.server.config import ServerConfig
from tuner.stoppers.limits import Limits
from tuner.storage.home import Home
from tuner.storage.staging import exists, viewed
from tuner.storage.storage import Storage, locate, new_child
from tuner.stored_run import StoredRun, has_stored_run, load_stored_run
from tuner.trainable.registry import get_trainable
from tuner.trainable.trainable import can_be_saved, is_trainable_class
from tuner.trainable.wrappers import trainable_name


class Tuner:
    """Tunes the hyperparameters of a trainable.

    Args:
        trainable: A function of the configuration, a `Trainable` class, a registered name, an
            algorithm of RLlib, by name or as its class, or a trainer of `ray.train`.
        param_space: The search space: constants, domains such as `tuner.uniform(0, 1)`,
            `grid_search`, `sample_from`, in dictionaries and lists nested as you like. For RLlib
            also an `AlgorithmConfig`.
        tune_config: What is searched for, and how.
        run_config: Where results go, when trials end, what happens on errors.

    Raises:
        ConfigError, TrainableError, SearchSpaceError: an argument cannot work.

    Example:
        >>> import tempfile
        >>> from tuner import RunConfig, TuneConfig, grid_search
        >>> grid = Tuner(
        ...     lambda config: {"score": -((config["x"] - 2) ** 2)},
        ...     param_space={"x": grid_search([1, 2, 3])},
        ...     tune_config=TuneConfig(metric="score", mode="max"),
        ...     run_config=RunConfig(storage_path=tempfile.mkdtemp(), verbose=0),
        ... ).fit()
        >>> grid.get_best_result().config
        {'x': 2}
    """

    def __init__(
        self,
        trainable: Any = None,
        *,
        param_space: Any = None,
        tune_config: TuneConfig | None = None,
        run_config: RunConfig | None = None,
    ) -> None:
        _check_type("tune_config", tune_config, TuneConfig)
        _check_type("run_config", run_config, RunConfig)
        self._name = trainable if isinstance(trainable, str) else None
        self._trainable = get_trainable(trainable)
        if hasattr(self._trainable, "as_param_space"):
            param_space = self._trainable.as_param_space(param_space)
        if not isinstance(param_space, dict | None):
            raise ConfigError(f"Tuner: param_space={param_space!r:.100} must be a dictionary")
        self._space = dict(param_space or {})
        self._tune_config = tune_config or TuneConfig()
        self._run_config = run_config or RunConfig()
        self._check_checkpoint_config()
        SearchSpace(self._space)
        Limits(self._run_config.stop)
        self._results: ResultGrid | None = None
        self._stored: StoredRun | None = None
        self._storage: Storage | None = None
        self._resume_config = ResumeConfig()
        self._changes = Changes()
        self._said_anew: dict[str, Any] = {}

    @classmethod
    def restore(
        cls,
        path: str | os.PathLike[str],
        trainable: Any = None,
        resume_unfinished: bool = True,
        resume_errored: bool = False,
        restart_errored: bool = False,
        param_space: Any = None,
        storage_filesystem: Any = None,
        *,
        resume_config: ResumeConfig | None = None,
        num_samples: int | None = None,
        stop: Any = None,
        time_budget_s: float | timedelta | None = None,
        server: ServerConfig | Literal[False] | None = None,
    ) -> Tuner:
        """The tuner of an experiment that was interrupted or is to be extended; then call `fit`.

        Trials that had ended are not run again; the others go on from their last checkpoint, or
        start again without one. Searcher, scheduler and stoppers decide as if nothing had
        happened.

        The folder holds pickles, which can run any code: restore only from folders that nobody
        else can write to.

        Args:
            path: The experiment's folder, `<storage_path>/<name>`.
            trainable: What was trained; needed only if it was too large to be stored, or cannot be
                loaded here.
            resume_unfinished: Whether trials that had not ended go on; otherwise they are ended.
            resume_errored: Whether trials that had failed go on from their last checkpoint.
            restart_errored: Whether trials that had failed start again, without their checkpoints.
            param_space: The same search space, to give its objects anew: references, handles, what
                cannot be loaded here, as a message says then. Trials that are not finished get
                them in their configurations, wherever the space holds an object and not a number,
                a text or a domain, in a list and in a category of `choice` or `grid_search`, too.
                Numbers and texts must be those of the run. It is not stored: give it at each
                restore.
            storage_filesystem: A filesystem object to which `path` belongs.
            resume_config: All of this for trials of each kind, in place of the three flags.
            num_samples: The `num_samples` from now on, those done before included.
            stop: When trials end, from now on. A trial that had been stopped, and is not by this,
                goes on.
            time_budget_s: The time budget from now on, the time used before included.
            server: The HTTP server of this run, False for none; that of the run before, if it had
                one, without it.

        Raises:
            StorageError: There is no experiment, or it cannot be read.
            ConfigError: An argument cannot work.
        """
        if server is not False:
            _check_type("server", server, ServerConfig)
        storage, local = locate(path, storage_filesystem)
        with nullcontext(local) if storage is None else viewed(storage) as folder:
            stored = load_stored_run(folder, shown_as=local if storage is None else storage.url)
        tuner = cls(
            stored.trainable if trainable is None else trainable,
            param_space=stored.param_space if param_space is None else param_space,
            tune_config=stored.tune_config,
            run_config=stored.run_config,
        )
        if trainable is not None:
            _check_same_trainable(tuner._label(), stored)
        if param_space is not None:
            _check_same_space(tuner._space, stored)
        tuner._stored = stored
        tuner._storage = storage
        tuner._resume_config = _resume_config(
            resume_config, resume_unfinished, resume_errored, restart_errored
        )
        tuner._changes = _changes(num_samples, stop, time_budget_s)
        if server is not None:
            tuner._said_anew = {"server": server or None}
        return tuner

    @classmethod
    def can_restore(cls, path: str | os.PathLike[str], storage_filesystem: Any = None) -> bool:
        """Whether there is an experiment that `restore` can go on with."""
        storage, local = locate(path, storage_filesystem)
        return has_stored_run(local) if storage is None else exists(storage)

    def fit(self) -> ResultGrid:
        """Runs all trials and returns their results.

        Trials that fail do not make it raise: see `ResultGrid.errors`, and `FailureConfig`.
        Ctrl-C ends it cleanly and returns what there is; a second one ends it at once.

        Raises:
            TunerError: the experiment as a whole cannot go on.
        """
        if ray_client.is_outside(self._run_config.executor):
            self._results = ray_client.run_inside(self.fit, self._run_config.executor)
            return self._results
        trainable_label = self._label()
        if is_loading():
            raise TunerError(
                f"fit() was called by the import of a module that {trainable_label!r} needs, in a "
                "worker: put the call below `if __name__ == '__main__':` or into a function"
            )
        open_standard_descriptors()
        plan = self._plan(trainable_label)
        if plan.run_config.server is not None:
            from tuner.server.process import check_can_listen

            check_can_listen(plan.run_config.server)
        home = self._home(trainable_label)
        try:
            if self._stored is None:
                self._results = run_new(plan, home)
            else:
                self._results = run_restored(
                    plan, home, self._stored, self._resume_config, self._changes
                )
                self._changes = Changes()
        except Exception as error:
            begin_at_callback(error)
            raise
        finally:
            home.release()
        if self._run_config.failure_config.fail_fast == "raise" and self._results.errors:
            raise self._results.errors[0]
        return self._results

    def get_results(self) -> ResultGrid:
        """The results of the last `fit()`, or of the experiment that was restored.

        Raises:
            TunerError: `fit()` was not called.
        """
        if self._results is None and self._stored is not None:
            plan = self._plan(self._stored.trainable_name)
            storage, local = self._storage, self._stored.path
            with nullcontext(local) if storage is None else viewed(storage) as folder:
                return stored_results(plan, self._stored, folder, storage)
        if self._results is None:
            raise TunerError("Tuner: get_results() has nothing to return yet; call fit() first")
        return self._results

    def _run_as(self, other: Tuner) -> list[str]:
        """Has a restored experiment be run as another tuner says; what it trains stays as it was.

        Returns:
            What the other says of the experiment itself that differs, and is not heeded.
        """
        assert self._stored is not None
        self._said_anew = said_anew(other._run_config)
        self._run_config = dataclasses.replace(self._run_config, **self._said_anew)
        limit = other._tune_config.max_concurrent_trials
        if limit != self._tune_config.max_concurrent_trials:
            self._changes = dataclasses.replace(self._changes, max_concurrent_trials=limit)
        problem = other._space and difference(outline(other._space), self._stored.outline)
        return [
            *(["param_space"] if problem else []),
            *unheeded(other._tune_config, self._tune_config),
            *unheeded(other._run_config, self._run_config),
        ]

    def _label(self) -> str:
        """What trials are called after."""
        if self._stored is not None:
            return self._stored.trainable_name
        return self._name or trainable_name(self._trainable)

    def _plan(self, trainable_label: str) -> Plan:
        stored = self._stored
        if stored is not None:  # policies remember what they were told: each use gets new ones
            self._tune_config, self._run_config = stored.tune_config, stored.run_config
            self._run_config = dataclasses.replace(self._run_config, **self._said_anew)
        return make_plan(
            self._trainable,
            trainable_label,
            self._space,
            self._tune_config,
            self._run_config,
            seed=stored.seed if stored else None,
            id_prefix=stored.id_prefix if stored else None,
        )

    def _home(self, trainable_label: str) -> Home:
        if self._stored is not None:
            return Home(self._stored.path, self._storage)
        config = self._run_config
        given = default_storage_path() if config.storage_path is None else config.storage_path
        storage, local = locate(given, config.storage_filesystem)
        name = config.name
        if name is None:
            name = f"{trainable_label}_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
            if storage is None:
                return Home(new_folder(local, name), None)
            return Home(None, new_child(storage, name))
        if storage is None:
            return Home(os.path.join(local, name), None)
        return Home(None, storage.child(name))

    def _check_checkpoint_config(self) -> None:
        config = self._run_config.checkpoint_config
        if can_be_saved(self._trainable):
            return
        problem = (
            f"needs {trainable_name(self._trainable)}.save_checkpoint; write it and load_checkpoint"
            if is_trainable_class(self._trainable)
            else "has no effect on a function trainable; give report(…, checkpoint=…) a checkpoint "
            "instead"
        )
        for field in ("checkpoint_frequency", "checkpoint_at_end"):
            value = getattr(config, field)
            if value:
                raise ConfigError(f"CheckpointConfig: {field}={value!r} {problem}")


def _check_type(name: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise ConfigError(f"Tuner: {name}={value!r:.100} must be a {kind.__name__}")


def _check_same_trainable(label: str, stored: StoredRun) -> None:
    if label != stored.trainable_name:
        raise ConfigError(
            f"Tuner.restore: trainable={label!r} is another one than {stored.trainable_name!r}, of "
            f"which {stored.path} holds trials; give that one, or begin anew with Tuner(…)"
        )


def _check_same_space(param_space: dict[str, Any], stored: StoredRun) -> None:
    problem = difference(outline(param_space), stored.outline)
    if problem is not None:
        raise ConfigError(
            f"Tuner.restore: param_space {problem}; give the same search space, in which only "
            "objects may be others, or begin anew with Tuner(…)"
        )


def _resume_config(
    given: ResumeConfig | None, resume_unfinished: bool, resume_errored: bool, restart_errored: bool
) -> ResumeConfig:
    if given is not None:
        _check_type("resume_config", given, ResumeConfig)
        return given
    if resume_errored and restart_errored:
        raise ConfigError(
            "Tuner.restore: resume_errored=True and restart_errored=True exclude each other; "
            "give one of them"
        )
    errored = "resume" if resume_errored else "restart" if restart_errored else "skip"
    return ResumeConfig(unfinished="resume" if resume_unfinished else "skip", errored=errored)


def _changes(
    num_samples: int | None, stop: Any, time_budget_s: float | timedelta | None
) -> Changes:
    """The changes, checked as the configs check them."""
    if num_samples is not None:
        TuneConfig(num_samples=num_samples)
    config = TuneConfig(time_budget_s=time_budget_s)
    Limits(stop, config.time_budget_s)
    budget = config.time_budget_s
    seconds = budget.total_seconds() if isinstance(budget, timedelta) else budget
    return Changes(num_samples=num_samples, stop=stop, time_budget_s=seconds)
