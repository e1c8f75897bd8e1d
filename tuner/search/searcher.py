"""What proposes configurations: the interface that every search algorithm implements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from tuner.errors import ConfigError
from tuner.search.searcher_names import SearcherNames
from tuner.validation import check_mode, reject


class Searcher(SearcherNames):
    """Proposes the configurations of trials, and is told how they went.

    The experiment calls `set_search_properties` once, then `suggest` for each new trial,
    `on_trial_result` for each result, and `on_trial_complete` when the trial has ended. When an
    experiment is restored, `on_trial_recorded` stands in for the `suggest` calls already made, and
    the other calls are repeated in their order.

    Subclasses implement `suggest`, and call `super().__init__`. What `suggest` returns is put into
    the `param_space`, so that its constants and functions of `sample_from` need not be repeated.

    Args:
        metric: The metric to optimize; None takes the experiment's.
        mode: `"min"` or `"max"`; None takes the experiment's.

    Raises:
        ConfigError: If `mode` is neither.

    Attributes:
        FINISHED: What `suggest` returns when there will be no more configurations.
        max_concurrent: How many of its trials may be unfinished at a time; 0 for no limit.
        fills_space: Whether `suggest` returns whole configurations, constants and all.

    Example:
        >>> class Countdown(Searcher):
        ...     def __init__(self):
        ...         super().__init__(metric="loss", mode="min")
        ...         self.left = 2
        ...
        ...     def suggest(self, trial_id):
        ...         if self.left == 0:
        ...             return Searcher.FINISHED
        ...         self.left -= 1
        ...         return {"x": self.left}
        >>> searcher = Countdown()
        >>> [searcher.suggest(name) for name in ("a", "b", "c")]
        [{'x': 1}, {'x': 0}, 'FINISHED']
    """

    FINISHED = "FINISHED"

    metric: str | list[str] | None = None
    mode: str | list[str] | None = None
    max_concurrent: int = 0
    fills_space: bool = False

    def __init__(
        self, metric: str | list[str] | None = None, mode: str | list[str] | None = None
    ) -> None:
        for one in mode if isinstance(mode, list) else [mode]:
            if one is not None:
                check_mode(type(self).__name__, "mode", one)
        self.metric = metric
        self.mode = mode

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Tells what to optimize, and over which search space.

        A metric and a mode given to the constructor are kept.

        Args:
            metric: The experiment's metric.
            mode: The experiment's mode.
            config: The `param_space`.
            **spec: More about the experiment: `num_samples` and `seed`.

        Returns:
            Whether the searcher takes `config` as its search space; not, unless overridden: then
            `config` may have constants and functions of `sample_from` only.
        """
        self.metric = self.metric or metric
        self.mode = self.mode or mode
        return False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns a configuration for a new trial.

        Args:
            trial_id: What the trial is called in later notifications.

        Returns:
            The configuration, nested as the `param_space`, or the part of it that was searched
            for; None if there is none for now (asked again later); `Searcher.FINISHED` if there
            will be none.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement suggest(trial_id)")

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tells a result of a trial that goes on.

        Args:
            trial_id: The trial.
            result: Its metrics, which may lack the metric to optimize, or have NaN for it.
        """

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells that a trial has ended.

        Args:
            trial_id: The trial.
            result: Its last result, None if it had none.
            error: Whether it failed.
        """

    def on_trial_recorded(self, trial_id: str, config: dict[str, Any]) -> bool | None:
        """Tells that `suggest(trial_id)` was answered with `config` before a restore.

        Unless overridden, `suggest` is called and its answer ignored, so that the state moves on.

        Args:
            trial_id: The trial.
            config: Its whole configuration, as the record has it.

        Returns:
            False if `suggest` has no configuration now, as more has to be told before: what is
            around the searcher may have held it back, and then calls again.
        """
        return isinstance(self.suggest(trial_id), dict)

    def add_evaluated_point(
        self,
        parameters: Mapping[str, Any],
        value: Any,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: Sequence[float] | None = None,
    ) -> None:
        """Tells of a configuration that was tried elsewhere, to learn from.

        Args:
            parameters: The configuration, nested or with flat names such as `"model/lr"`.
            value: Its value of the metric, a list with several metrics; NaN or None if it failed.
            error: Whether it failed, whatever its value.
            pruned: Whether it was stopped early, for a searcher that makes a difference there.
            intermediate_values: The metric at each iteration, for a searcher that uses them.

        Raises:
            ConfigError: The searcher does not learn from results; none does, unless overridden.
        """
        raise ConfigError(
            f"{type(self).__name__} does not learn from evaluated points; give it the best of them "
            "as points_to_evaluate, or take another searcher"
        )

    def add_evaluated_points(
        self, points: Sequence[Mapping[str, Any]], values: Sequence[Any]
    ) -> None:
        """Tells of configurations that were tried elsewhere; see `from_experiment`.

        Args:
            points: The configurations.
            values: Their values of the metric, as many.
        """
        for point, value in zip(points, values, strict=True):
            self.add_evaluated_point(point, value)

    def total_samples(self, num_samples: int) -> int | None:
        """Returns how many trials there will be, None if there is no limit.

        Args:
            num_samples: The experiment's `num_samples`, -1 for no limit.
        """
        return None if num_samples == -1 else num_samples

    def set_num_samples(self, num_samples: int) -> None:
        """Tells that a restore has changed the experiment's `num_samples`.

        Args:
            num_samples: How many it is from now on, those done before included; -1 for no limit.
        """

    def set_param_space(self, param_space: dict[str, Any]) -> None:
        """Tells that a restore has the search space again, in which objects may be others.

        Args:
            param_space: The search space.
        """

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Asks the searcher to keep to a limit by itself, as a `ConcurrencyLimiter` does.

        Args:
            max_concurrent: How many trials may be unfinished at a time.

        Returns:
            Whether it will; not, unless overridden.
        """
        return False

    def get_state(self) -> dict[str, Any]:
        """Returns everything that `set_state` needs to go on from here: all attributes."""
        return dict(self.__dict__)

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from what `get_state` returned.

        Args:
            state: The state.
        """
        self.__dict__.update(state)

    def save(self, checkpoint_path: str | PathLike[str]) -> None:
        """Writes the state to a file.

        Args:
            checkpoint_path: The file to write.
        """
        import cloudpickle

        with open(checkpoint_path, "wb") as file:
            cloudpickle.dump(self.get_state(), file)

    def restore(self, checkpoint_path: str | PathLike[str]) -> None:
        """Goes on from a file that `save` wrote.

        Args:
            checkpoint_path: The file to read. It is unpickled, so it must come from you.
        """
        import cloudpickle

        with open(checkpoint_path, "rb") as file:
            self.set_state(cloudpickle.load(file))


def check_points(owner: str, points: Any) -> list[Mapping[str, Any]]:
    """The `points_to_evaluate` of a searcher as a list.

    Raises:
        ConfigError: They are no list of dicts.
    """
    if points is None:
        return []
    if not isinstance(points, list | tuple) or not all(isinstance(p, Mapping) for p in points):
        reject(owner, "points_to_evaluate", points, "give a list of dicts, such as [{'lr': 0.1}]")
    return list(points)
