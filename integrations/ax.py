"""Ax: Bayesian optimization with BoTorch's models, as a searcher."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tuner.flatten import lookup
from tuner.integrations.ax_space import config_of, is_metric, space_of_client, space_of_dicts
from tuner.integrations.library_searcher import LibrarySearcher
from tuner.integrations.one_thread import one_thread
from tuner.search.flat_space import FlatSpace, Parameter, Values
from tuner.search_space.domains import Categorical
from tuner.validation import shorten

if TYPE_CHECKING:
    from ax.api.client import Client

logger = logging.getLogger(__name__)

# Says on import which SQLAlchemy there is.
_CHATTY = "ax.storage.sqa_store.with_db_settings_base"


class AxSearch(LibrarySearcher):
    """Asks Ax's `Client`: some quasi-random configurations first, then those of a model.

    A trial without a value is abandoned: Ax does not propose its configuration again.

    Args:
        space: The search space, if it is not the `param_space`: a dict of ours, or Ax's list of
            dicts with `name`, `type`, `bounds` and so on.
        metric: The metric to optimize, or a list of several.
        mode: `"min"` or `"max"`, or a list.
        points_to_evaluate: Configurations to try first.
        parameter_constraints: What configurations must fulfil, such as `"x3 >= x4"` or
            `"x3 + x4 >= 2"`; parameters by their flat names.
        outcome_constraints: What results should fulfil, such as `"size <= 3"`. Trials must report
            these metrics too.
        ax_client: An `ax.api.client.Client` with an experiment and an optimization configured;
            search space, metric and constraints are then what it has.
        evaluated_rewards: Values of the first of the points.
        seed: What all randomness derives from; None takes the experiment's.
        **ax_kwargs: What `Client.configure_generation_strategy` is called with, such as
            `method="quality"` or `initialization_budget=10`.

    Raises:
        ConfigError: An argument cannot work.
        MissingDependencyError: Ax is not installed.

    Example:
        >>> from tuner import uniform
        >>> searcher = AxSearch(metric="loss", mode="min")
        >>> searcher.set_search_properties(None, None, {"x": uniform(0, 1)}, seed=1)
        True
        >>> 0 <= searcher.suggest("first")["x"] <= 1
        True

    Source: https://ax.dev
    """

    library = "Ax"
    module = "ax"
    extra = "ax"
    has_objectives = True
    draws_when_told = False

    def __init__(
        self,
        space: dict[str, Any] | list[dict[str, Any]] | None = None,
        metric: str | list[str] | None = None,
        mode: str | list[str] | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        parameter_constraints: Sequence[str] | None = None,
        outcome_constraints: Sequence[str] | None = None,
        ax_client: Client | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
        seed: int | None = None,
        **ax_kwargs: Any,
    ) -> None:
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)
        if ax_client is not None:
            given = {
                "space": space,
                "metric": metric,
                "mode": mode,
                "parameter_constraints": parameter_constraints,
                "outcome_constraints": outcome_constraints,
                **ax_kwargs,
            }
            for name, value in given.items():
                if value is not None:
                    self._refuse(f"{name}={value!r} and ax_client exclude each other")
        self._parameter_constraints = list(parameter_constraints or [])
        self._outcome_constraints = list(outcome_constraints or [])
        self._client: Any = ax_client
        self._ax_kwargs = ax_kwargs
        self._indices: dict[str, int] = {}
        self._outcomes: dict[str, float] = {}
        self._is_warned = {"point": False, "outcome": False}

    def set_search_properties(
        self, metric: Any, mode: Any, config: dict[str, Any], seed: int | None = None, **spec: Any
    ) -> bool:
        """Takes the metric, and the search space if none was given."""
        _import_quietly()
        if not self._is_open:
            self._is_own = self._client is None
        if not self._is_own:
            self._given_space = space_of_client(self._client, self._name)
            objective = self._client._experiment.optimization_config.objective
            weights = [weight for _, weight in objective.metric_weights]
            self.metric = objective.metric_names
            self.mode = ["max" if weight > 0 else "min" for weight in weights]
        return super().set_search_properties(metric, mode, config, seed=seed, **spec)

    def _open(self, space: Any) -> None:
        """Opens Ax's own list of parameters as well."""
        super()._open(space_of_dicts(space, self._name) if isinstance(space, list) else space)

    def open(self, space: FlatSpace, seed: int) -> None:
        """Makes the client, unless there is one."""
        self._parameters = {each.name: each for each in space.parameters}
        if self._is_own:
            self._client = self._made_client(seed)
        self._outcome_names = sorted(
            self._client._experiment.optimization_config.metric_names - set(self._metrics)
        )
        for point in self._given_points:
            broken = self._broken(space.values(point, strict=True))
            if broken is not None:
                self._refuse(
                    f"the point {shorten(dict(point))} breaks {broken}; leave it out of "
                    "points_to_evaluate, or change parameter_constraints"
                )

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells Ax the trial's last values, those that are constrained too."""
        found = {name: lookup(result or {}, name) for name in self._outcome_names}
        self._outcomes = {name: value for name, value in found.items() if value is not None}
        missing = [name for name, value in found.items() if value is None]
        if missing and result is not None and not error:
            self._warn_once(
                "outcome",
                "outcome_constraints name %s, which the trial %s has not reported; Ax cannot learn "
                "where they hold. Other trials that lack one are not named.",
                missing,
                trial_id,
            )
        super().on_trial_complete(trial_id, result, error)
        self._outcomes = {}

    def ask(self, trial_id: str) -> Values | str | None:
        """The next proposal, None while Ax waits for values, `FINISHED` if there are no others."""
        from ax.exceptions.core import DataRequiredError, OptimizationComplete
        from ax.exceptions.generation_strategy import MaxParallelismReachedException

        try:
            ((index, proposed),) = self._client.get_next_trials(max_trials=1).items()
        except (DataRequiredError, MaxParallelismReachedException):
            return None
        except OptimizationComplete as error:
            logger.warning("%s: Ax ends the search: %s", self._name, error)
            return self.FINISHED
        self._indices[trial_id] = index
        return {name: self._ours(each, proposed[name]) for name, each in self._parameters.items()}

    def tell(self, trial_id: str, values: Values, loss: Any) -> None:
        """Completes or abandons the trial, after attaching it if Ax has not proposed it."""
        index = self._indices.pop(trial_id, None)
        if index is None:
            broken = self._broken(values)
            if broken is not None:
                self._warn_once(
                    "point",
                    "Ax learns nothing from %s, which breaks %s. Other such points are not named.",
                    shorten(self._opened().config(values)),
                    broken,
                )
                return
            index = self._client.attach_trial(self._parameterization(values))
        if loss is None:
            self._client.mark_trial_abandoned(index)
            return
        losses = loss if isinstance(loss, list) else [loss]
        data = {
            name: sign * each
            for name, sign, each in zip(self._metrics, self._signs, losses, strict=True)
        }
        self._client.complete_trial(index, {**data, **self._outcomes})

    @property
    def _metrics(self) -> list[str]:
        return self.metric if isinstance(self.metric, list) else [str(self.metric)]

    def _made_client(self, seed: int) -> Client:
        from ax.api.client import Client
        from ax.exceptions.core import AxError

        configs = [
            config_of(each, None if isinstance(each.domain, Categorical) else self.bounded(each))
            for each in self._parameters.values()
        ]
        for name in self._metrics:
            if not is_metric(name):
                self._refuse(
                    f"metric={name!r}: Ax reads metrics as a formula, where this name means "
                    "something else; report it under another one"
                )
        client = Client()
        try:
            client.configure_experiment(configs, parameter_constraints=self._parameter_constraints)
            self._configure(client, seed)
        except (AxError, TypeError, ValueError) as error:
            self._refuse(f"Ax refuses its arguments: {error}")
        return client

    def _configure(self, client: Client, seed: int) -> None:
        objectives = zip(self._metrics, self._signs, strict=True)
        client.configure_optimization(
            ", ".join(f"-{name}" if sign > 0 else name for name, sign in objectives),
            outcome_constraints=self._outcome_constraints or None,
        )
        usual = {
            "initialization_random_seed": seed % 2**31,
            "allow_exceeding_initialization_budget": True,  # no slot waits for the first values
        }
        client.configure_generation_strategy(**{**usual, **self._ax_kwargs})

    def _ours(self, parameter: Parameter, value: Any) -> Any:
        if not isinstance(parameter.domain, Categorical):
            return self.bounded(parameter).nearest(value)
        return value if self._is_own else parameter.domain.categories.index(value)

    def _theirs(self, parameter: Parameter, value: Any) -> Any:
        if not isinstance(parameter.domain, Categorical):
            return self.bounded(parameter).nearest(value)
        return value if self._is_own else parameter.domain.categories[value]

    def _parameterization(self, values: Values) -> dict[str, Any]:
        """What Ax calls these values; some parameters may lack."""
        return {
            name: self._theirs(each, values[name])
            for name, each in self._parameters.items()
            if name in values
        }

    def _broken(self, values: Values) -> Any:
        """The parameter constraint that values break, None if there is none."""
        theirs = self._parameterization(values)
        for constraint in self._client._experiment.search_space.parameter_constraints:
            if theirs.keys() >= constraint.constraint_dict.keys() and not constraint.check(theirs):
                return constraint
        return None

    def _warn_once(self, topic: str, message: str, *arguments: Any) -> None:
        if not self._is_warned[topic]:
            self._is_warned[topic] = True
            logger.warning(f"%s: {message}", self._name, *arguments)

    @contextmanager
    def _streams(self) -> Iterator[None]:
        """What torch draws is seeded too, and the console is left alone."""
        import torch

        threads = torch.get_num_threads()
        on_gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        devices = range(torch.cuda.device_count()) if on_gpu else ()
        with super()._streams(), torch.random.fork_rng(devices), one_thread(), _quiet():
            torch.default_generator.manual_seed(random.getrandbits(63))
            torch.set_num_threads(1)
            try:
                yield
            finally:
                torch.set_num_threads(threads)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """The console is left alone; that a trial lacks a metric is said here, once."""
        with super()._telling(), _quiet(logging.ERROR):
            yield


@contextmanager
def _quiet(least: int = logging.WARNING) -> Iterator[None]:
    """While entered, Ax says on the console only what is grave, and Python does not warn."""
    from ax.utils.common.logger import ROOT_STREAM_HANDLER

    level = ROOT_STREAM_HANDLER.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ROOT_STREAM_HANDLER.setLevel(max(level, least))
        try:
            yield
        finally:
            ROOT_STREAM_HANDLER.setLevel(level)


def _import_quietly() -> None:
    chatty = logging.getLogger(_CHATTY)
    chatty.addFilter(_nothing)
    try:
        import ax.api.client  # noqa: F401
    finally:
        chatty.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False
