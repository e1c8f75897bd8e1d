"""Optuna: its samplers (TPE, CMA-ES, Gaussian processes, NSGA-II, …) as a searcher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuner.flatten import unflatten
from tuner.integrations.library_searcher import LibrarySearcher
from tuner.search.flat_space import FlatSpace, Parameter, Values
from tuner.search_space.checks import same
from tuner.search_space.domains import Categorical, Integer

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import Trial, TrialState

_PLAIN = (bool, int, float, str, type(None))


class OptunaSearch(LibrarySearcher):
    """Asks a study of Optuna.

    Args:
        space: The search space, if it is not the `param_space`: a dict of ours; a dict of Optuna's
            distributions by flat name; or a function that takes an Optuna trial, calls its
            `suggest_…` methods, and returns a dict of constants, or None (define-by-run).
        metric: The metric to optimize, or a list of several.
        mode: `"min"` or `"max"`, or a list.
        points_to_evaluate: Configurations to try first.
        sampler: One of `optuna.samplers`; by default `TPESampler` with `seed`, for several
            objectives `NSGAIISampler`. One of your own is seeded by you.
        study_name: The study's name in `storage`.
        storage: Where Optuna keeps the study; in memory by default.
        seed: What the sampler's randomness derives from; None takes the experiment's.
        evaluated_rewards: Values of the first of the points.

    Raises:
        ConfigError: An argument cannot work.
        MissingDependencyError: Optuna is not installed.

    Example:
        >>> from tuner import uniform
        >>> searcher = OptunaSearch(metric="loss", mode="min")
        >>> searcher.set_search_properties(None, None, {"x": uniform(0, 1)}, seed=1)
        True
        >>> 0 <= searcher.suggest("first")["x"] <= 1
        True

    Source: https://optuna.readthedocs.io
    """

    library = "Optuna"
    module = "optuna"
    extra = "optuna"
    has_conditions = True
    has_objectives = True

    def __init__(
        self,
        space: Any = None,
        metric: str | list[str] | None = None,
        mode: str | list[str] | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        sampler: BaseSampler | None = None,
        study_name: str | None = None,
        storage: BaseStorage | str | None = None,
        seed: int | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)
        self._sampler = sampler
        self._study_name = study_name
        self._storage = storage
        self._native: Any = None
        self._trials: dict[str, Trial] = {}

    def _open(self, space: Any) -> None:
        """Opens a search space of Optuna's own as well."""
        if not callable(space) and not _is_of_optuna(space):
            super()._open(space)
            return
        self._native = space
        self._make_study(int(self._seed or 0))
        rewards = self._rewards
        for point, value in zip(self._given_points, rewards, strict=False):
            self.add_evaluated_point(point, value)
        for point in self._given_points[len(rewards) :]:
            self._study.enqueue_trial(dict(point))

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns the next of the points, then what the sampler proposes."""
        if self._native is None:
            return super().suggest(trial_id)
        with self._streams():
            is_function = callable(self._native)
            trial = self._study.ask() if is_function else self._study.ask(self._native)
            constants = self._native(trial) if is_function else None
        self._trials[trial_id] = trial
        self._live[trial_id] = dict(trial.params)
        return unflatten({**trial.params, **(constants or {})})

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Notes the value as an intermediate one, if there is one objective."""
        trial, loss = self._trials.get(trial_id), self._loss_of(result)
        step = result.get("training_iteration")
        if trial is not None and isinstance(loss, float) and step is not None:
            trial.report(loss, step)

    def add_evaluated_point(self, parameters: Mapping[str, Any], value: Any) -> None:
        """Tells Optuna of a configuration that was tried elsewhere."""
        if self._native is None:
            super().add_evaluated_point(parameters, value)
            return
        import optuna

        params, distributions = dict(parameters), self._native
        if callable(distributions):
            fixed = optuna.trial.FixedTrial(params)
            distributions(fixed)
            distributions = fixed.distributions
        self._add({name: params[name] for name in distributions}, distributions, self._loss(value))

    def open(self, space: FlatSpace, seed: int) -> None:
        """Makes the study."""
        self._distributions = {each.name: self._distribution(each) for each in space.parameters}
        self._make_study(seed)

    def ask(self, trial_id: str) -> Values:
        """Has the sampler suggest one parameter after the other, a choice before what is in it."""
        trial = self._trials[trial_id] = self._study.ask()
        values: Values = {}
        for parameter in self._opened().parameters:
            if parameter.is_active(values):
                values[parameter.name] = self._suggested(trial, parameter)
        return values

    def tell(self, trial_id: str, values: Values, loss: Any) -> None:
        """Ends the trial, or adds one that Optuna has not proposed."""
        trial = self._trials.pop(trial_id, None)
        if trial is not None:
            self._study.tell(trial, loss, _state(loss))
            return
        parameters = {each.name: each for each in self._opened().parameters}
        params = {name: _theirs(parameters[name], value) for name, value in values.items()}
        self._add(params, {name: self._distributions[name] for name in values}, loss)

    def _add(
        self, params: dict[str, Any], distributions: dict[str, BaseDistribution], loss: Any
    ) -> None:
        import optuna

        values = loss if isinstance(loss, list) or loss is None else [loss]
        self._study.add_trial(
            optuna.trial.create_trial(
                state=_state(loss), params=params, distributions=distributions, values=values
            )
        )

    def _make_study(self, seed: int) -> None:
        import optuna

        sampler = self._sampler
        if sampler is None:
            several = isinstance(self.metric, list) and len(self.metric) > 1
            kind = optuna.samplers.NSGAIISampler if several else optuna.samplers.TPESampler
            sampler = kind(seed=seed)
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # not that a study was created
        try:
            self._study = optuna.create_study(
                directions=["minimize"] * len(self._signs),
                sampler=sampler,
                storage=self._storage,
                study_name=self._study_name,
                load_if_exists=True,
            )
        finally:
            optuna.logging.set_verbosity(verbosity)

    def _distribution(self, parameter: Parameter) -> BaseDistribution:
        from optuna import distributions

        if isinstance(parameter.domain, Categorical):
            return distributions.CategoricalDistribution(_choices(parameter.domain))
        domain = self.bounded(parameter)
        step = None if domain.log else domain.q  # Optuna has either; the rest is rounded here
        if isinstance(domain, Integer):
            return distributions.IntDistribution(
                domain.least, domain.most, log=domain.log, step=int(step or 1)
            )
        return distributions.FloatDistribution(
            domain.lower, domain.upper, log=domain.log, step=step
        )

    def _suggested(self, trial: Trial, parameter: Parameter) -> Any:
        name = parameter.name
        known: Any = self._distributions[name]
        if isinstance(parameter.domain, Categorical):
            value = trial.suggest_categorical(name, known.choices)
            return next(i for i, each in enumerate(known.choices) if same(each, value))
        domain = self.bounded(parameter)
        suggest: Any = trial.suggest_int if isinstance(domain, Integer) else trial.suggest_float
        value = suggest(name, known.low, known.high, step=known.step, log=known.log)
        return domain.nearest(value)


def _state(loss: Any) -> TrialState:
    from optuna.trial import TrialState

    return TrialState.FAIL if loss is None else TrialState.COMPLETE


def _choices(domain: Categorical) -> list[Any]:
    """The categories as Optuna takes them: as they are if plain and all different, else numbers."""
    categories = list(domain.categories)
    plain = all(isinstance(each, _PLAIN) for each in categories)
    if plain and len(set(categories)) == len(categories):
        return categories
    return list(range(len(categories)))


def _theirs(parameter: Parameter, value: Any) -> Any:
    domain = parameter.domain
    return _choices(domain)[value] if isinstance(domain, Categorical) else value


def _is_of_optuna(space: Any) -> bool:
    from optuna.distributions import BaseDistribution

    return isinstance(space, dict) and any(
        isinstance(each, BaseDistribution) for each in space.values()
    )
