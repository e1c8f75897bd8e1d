"""Optuna: its samplers (TPE, CMA-ES, Gaussian processes, NSGA-II, …) as a searcher."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tuner.errors import ConfigError
from tuner.flatten import flatten, unflatten
from tuner.integrations.library_searcher import LibrarySearcher
from tuner.integrations.optuna_space import OptunaSpace, optuna_space
from tuner.search.flat_space import FlatSpace, Parameter, Values
from tuner.search_space.checks import same
from tuner.search_space.domains import Categorical, Integer
from tuner.validation import shorten

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial, TrialState

_TRIAL_ID = "tuner_trial_id"
_PLAIN = (bool, int, float, str, type(None))


class OptunaSearch(LibrarySearcher):
    """Asks a study of Optuna.

    Args:
        space: The search space, if it is not the `param_space`: a dict of ours; a dict of Optuna's
            distributions; or a function that takes an Optuna trial, calls its
            `suggest_…` methods, and returns a dict of constants, or None (define-by-run).
        metric: The metric to optimize, or a list of several.
        mode: `"min"` or `"max"`, or a list.
        points_to_evaluate: Configurations to try first.
        sampler: One of `optuna.samplers`; by default `TPESampler` with `seed`, for several
            objectives `NSGAIISampler`. One of your own is seeded by you.
        study_name: The study's name in `storage`; by default it is called after the first trial.
        storage: Where Optuna keeps the study, for its dashboard, say: a URL such as
            `"sqlite:///optuna.db"`, or a storage object. In memory by default, and then a restored
            experiment proposes exactly what it would have proposed. A restore does not write into
            a storage what is there already.
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
    draws_when_told = False

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
        self._sampler = self._checked(sampler)
        self._study_name = study_name
        self._storage = storage
        self._native: OptunaSpace | None = None
        self._queue: list[dict[str, Any]] = []  # the points of such a space
        self._study: Any = None
        self._evaluated_trials: list[FrozenTrial] = []
        self._trials: dict[str, Trial | int] = {}  # as they are known to the study, or by number
        self._numbers: dict[str, int] = {}
        self._steps: dict[str, int] = {}  # the last one of each trial that Optuna has a value of
        self._is_behind = False  # whether the sampler has not drawn what was drawn before a restore

    def _checked(self, sampler: Any) -> BaseSampler | None:
        if sampler is None:
            return None
        from optuna.samplers import BaseSampler

        if not isinstance(sampler, BaseSampler):
            self._refuse(
                f"sampler={shorten(sampler)} is no sampler object; give one such as "
                "optuna.samplers.TPESampler(seed=1)"
            )
        return sampler

    def _open(self, space: Any) -> None:
        """Opens a search space of Optuna's own as well."""
        self._native = optuna_space(space)
        if self._native is None:
            super()._open(space)
            return
        self._queue = [
            self._native.point(each) for each in self._given_points[len(self._rewards) :]
        ]
        for point, value in zip(self._given_points, self._rewards, strict=False):
            self._add(*self._native.evaluated(point, strict=True), self._loss(value))
        for arguments in self._evaluated:
            self.add_evaluated_point(*arguments)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns the next of the points, then what the sampler proposes."""
        self._begin(trial_id)
        if self._is_behind:
            self._is_behind = False
            self._renew_sampler()
        if self._native is None:
            return super().suggest(trial_id)
        with self._streams():
            trial = self._asked(trial_id, self._native.distributions)
            constants = self._native.constants(trial)
        self._live[trial_id] = dict(trial.params)
        return unflatten({**trial.params, **flatten(constants)})

    def on_trial_recorded(self, trial_id: str, config: dict[str, Any]) -> bool | None:
        """Repeats what was asked; of a study in a storage, nothing is asked again."""
        if self._storage is None:
            return super().on_trial_recorded(trial_id, config)
        self._begin(trial_id, again=True)
        self._num_asked += 1
        self._is_behind = True
        if self._points:
            self._live[trial_id] = self._completed(self._points.pop(0))
        elif self._native is None:
            self._live[trial_id] = self._opened().values(config)
        else:
            self._live[trial_id] = {}  # its number in the study says all
        return True

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Notes the value as an intermediate one, if there is one objective."""
        trial, loss = self._trials.get(trial_id), self._loss_of(result)
        step = result.get("training_iteration")
        if trial is None or isinstance(trial, int) or step is None or not isinstance(loss, float):
            return
        if step > self._steps.get(trial_id, -1):  # a trial that was paused or failed may repeat one
            self._steps[trial_id] = step
            trial.report(self._values(loss)[0], step)

    def add_evaluated_point(
        self,
        parameters: Mapping[str, Any],
        value: Any,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: Sequence[float] | None = None,
    ) -> None:
        """Tells Optuna of a configuration that was tried elsewhere, pruned or not."""
        if self._native is None:
            super().add_evaluated_point(parameters, value, error, pruned, intermediate_values)
            return
        loss = self._loss(None if error else value)
        self._add(
            *self._native.evaluated(parameters),
            loss,
            pruned=pruned and not error,
            intermediate_values=intermediate_values or (),
        )

    def open(self, space: FlatSpace, seed: int) -> None:
        """Takes the parameters; the study begins with the first trial."""
        self._distributions = {each.name: self._distribution(each) for each in space.parameters}

    def ask(self, trial_id: str) -> Values:
        """Has the sampler suggest one parameter after the other, a choice before what is in it."""
        trial = self._asked(trial_id)
        values: Values = {}
        for parameter in self._opened().parameters:
            if parameter.is_active(values):
                values[parameter.name] = self._suggested(trial, parameter)
        return values

    def tell(self, trial_id: str, values: Values, loss: Any) -> None:
        """Ends the trial, or adds one that Optuna has not proposed."""
        self._steps.pop(trial_id, None)
        trial = self._trials.pop(trial_id, None)
        if trial is None and self._storage is not None and self._study is not None:
            trial = self._number_of(trial_id)
        if trial is not None:
            with _quiet():
                self._study.tell(trial, self._values(loss), _state(loss), skip_if_finished=True)
            return
        if self._native is not None:
            if values:
                self._add(*self._native.evaluated(values), loss, {_TRIAL_ID: trial_id})
            return
        self._add(*self._as_optunas(values), loss, {_TRIAL_ID: trial_id})

    def tell_evaluated(
        self,
        name: str,
        values: Values,
        loss: Any,
        pruned: bool,
        intermediate_values: Sequence[float],
    ) -> None:
        """Adds a trial, with the values that it had on the way if they are known."""
        if not pruned and not intermediate_values:
            self.tell(name, values, loss)
            return
        self._add(
            *self._as_optunas(values),
            loss,
            {_TRIAL_ID: name},
            pruned=pruned,
            intermediate_values=intermediate_values,
        )

    def _as_optunas(self, values: Values) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """The values as Optuna has them, and their distributions."""
        parameters = {each.name: each for each in self._opened().parameters}
        params = {name: _theirs(parameters[name], value) for name, value in values.items()}
        return params, {name: self._distributions[name] for name in values}

    def _recorded(self, config: dict[str, Any]) -> Values:
        if self._native is None:
            return super()._recorded(config)
        params, _ = self._native.evaluated(config)
        return params

    def _add(
        self,
        params: dict[str, Any],
        distributions: dict[str, BaseDistribution],
        loss: Any,
        user_attrs: dict[str, Any] | None = None,
        pruned: bool = False,
        intermediate_values: Sequence[float] = (),
    ) -> None:
        import optuna

        trial = optuna.trial.create_trial(
            state=_state(loss, pruned),
            params=params,
            distributions=distributions,
            values=self._values(loss),
            user_attrs=user_attrs,
            intermediate_values=dict(enumerate(map(float, intermediate_values), start=1)),
        )
        if self._study is None:
            self._evaluated_trials.append(trial)
        else:
            self._study.add_trial(trial)

    def _number_of(self, trial_id: str) -> int | None:
        """The number of a trial in the study, None if it is not there."""
        if trial_id not in self._numbers:
            for each in self._study.get_trials(deepcopy=False):
                self._numbers[each.user_attrs.get(_TRIAL_ID, "")] = each.number
        return self._numbers.get(trial_id)

    def _asked(self, trial_id: str, distributions: Any = None) -> Trial:
        """A new trial of the study; in a storage it can be found again by ours."""
        trial: Trial = self._study.ask(distributions)
        if self._storage is not None:
            trial.set_user_attr(_TRIAL_ID, trial_id)
        self._trials[trial_id] = trial
        return trial

    def _values(self, loss: Any) -> Any:
        """The values as they were reported, which Optuna's dashboard shows."""
        if loss is None:
            return None
        losses = loss if isinstance(loss, list) else [loss]
        return [sign * each for sign, each in zip(self._signs, losses, strict=True)]

    def _begin(self, trial_id: str, *, again: bool = False) -> None:
        """Makes or finds the study when there is a first trial, after which it is called.

        Args:
            trial_id: The trial.
            again: Whether it was begun before a restore, in the same storage.
        """
        if self._study is not None:
            return
        self._study = self._made(self._study_name or f"tuner {trial_id}")
        if again:
            return
        for trial in self._evaluated_trials:
            self._study.add_trial(trial)
        for point in self._queue:
            self._study.enqueue_trial(point)

    def _made(self, study_name: str) -> Study:
        import optuna

        directions = ["minimize" if sign > 0 else "maximize" for sign in self._signs]
        sampler = self._sampler or self._default_sampler(int(self._seed or 0) % 2**32)
        try:
            with _quiet():
                study = optuna.create_study(
                    directions=directions,  # type: ignore[arg-type]
                    sampler=sampler,
                    storage=self._storage,
                    study_name=study_name,
                    load_if_exists=True,
                )
        except Exception as error:  # of the storage, whose databases have errors of their own
            raise ConfigError(
                f"{self._name}: storage={_shown(self._storage)} cannot hold a study: "
                f"{type(error).__name__}: {error}"
            ) from error
        known = [each.name.lower() for each in study.directions]
        if known != directions:
            self._refuse(
                f"study_name={study_name!r}: this study in the storage has the directions {known}, "
                f"but mode={self.mode!r} needs {directions}; use another study_name"
            )
        return study

    def _default_sampler(self, seed: int) -> BaseSampler:
        import optuna

        several = len(self._signs) > 1
        return (optuna.samplers.NSGAIISampler if several else optuna.samplers.TPESampler)(seed=seed)

    def _renew_sampler(self) -> None:
        """Has the sampler draw other numbers than those it drew before a restore."""
        if self._sampler is None:
            seed = hash((self._seed, self._num_asked)) % 2**32
            self._study.sampler = self._default_sampler(seed)
        else:
            self._study.sampler.reseed_rng()

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


@contextmanager
def _quiet() -> Iterator[None]:
    """While entered, Optuna's log says no more than warnings."""
    from optuna import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(max(verbosity, logging.WARNING))
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _shown(storage: Any) -> str:
    """A storage for an error, without the password that its URL may have."""
    if isinstance(storage, str):
        storage = re.sub(r"(://[^:/@]*):[^/@]*@", r"\1:***@", storage)
    return shorten(storage)


def _state(loss: Any, pruned: bool = False) -> TrialState:
    from optuna.trial import TrialState

    if pruned:
        return TrialState.PRUNED
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
