"""What searchers have in common that ask another library which configurations to try."""

from __future__ import annotations

import importlib.util
import logging
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar, NoReturn

from tuner.errors import ConfigError, MissingDependencyError, SearchSpaceError
from tuner.flatten import flatten, lookup
from tuner.metrics import as_number
from tuner.search.flat_space import FlatSpace, Parameter, Values
from tuner.search.searcher import Searcher, check_points
from tuner.search_space.domains import Categorical, Domain, Float, Integer, Normal
from tuner.search_space.streams import preserved_globals, seeded_globals
from tuner.validation import check_mode, check_whole, did_you_mean, shorten

logger = logging.getLogger(__name__)

_DEFAULT_SEED = 0
_NOTHING = object()


class LibrarySearcher(Searcher):
    """Base of the searchers in `tuner.integrations` that ask another library.

    A subclass says how the library is opened, asked and told; here the search space is taken apart
    and put together, results become numbers to minimize, and points come before what the library
    proposes.

    Args:
        space: The search space, if it is not the `param_space`: a dict of ours, or whatever the
            library itself takes, where the subclass says so.
        metric: The metric to optimize; None takes the experiment's. A list for several objectives.
        mode: `"min"` or `"max"`, or a list of these; None takes the experiment's.
        points_to_evaluate: Configurations to try first, nested or with flat names; what one leaves
            out is drawn at random.
        evaluated_rewards: The metric's values of the first of these points, which are then not
            tried again; with several objectives a list of values each.
        seed: What all randomness derives from; None takes the experiment's.

    Raises:
        ConfigError: An argument cannot work.
        MissingDependencyError: The library is not installed.

    Attributes:
        library: The library's name.
        module: What is imported of it.
        extra: The extra of this package that installs it.
        has_categories: Whether it takes choices.
        has_conditions: Whether it takes categories that hold parameters of their own.
        has_objectives: Whether it takes several objectives.
        draws_when_told: Whether it may draw random numbers when it is told a value, too.
    """

    library: ClassVar[str]
    module: ClassVar[str]
    extra: ClassVar[str]
    has_categories: ClassVar[bool] = True
    has_conditions: ClassVar[bool] = False
    has_objectives: ClassVar[bool] = False
    draws_when_told: ClassVar[bool] = True

    def __init__(
        self,
        space: Any = None,
        metric: str | list[str] | None = None,
        mode: str | list[str] | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(metric, mode)
        if importlib.util.find_spec(self.module) is None:
            raise MissingDependencyError(
                f"{self._name} needs {self.library}, which is not installed: "
                f"pip install 'tuner[{self.extra}]'"
            )
        points = check_points(self._name, points_to_evaluate)
        rewards = list(evaluated_rewards or [])
        if seed is not None:
            fix = "use a whole number >= 0, or None for the experiment's"
            check_whole(self._name, "seed", seed, fix, least=0)
        if len(rewards) > len(points):
            self._refuse(
                f"evaluated_rewards has {len(rewards)} values for {len(points)} points_to_evaluate"
            )
        self._given_space = space
        self._given_points = points
        self._points: list[Values] = []
        self._rewards = rewards
        self._seed = seed
        self._space: FlatSpace | None = None
        self._live: dict[str, Values] = {}
        self._num_asked = 0
        self._evaluated: list[tuple[Any, ...]] = []  # arguments of `add_evaluated_point`
        self._is_open = False
        self._awaits_metric = True  # an error until the first trial has reported it
        self._has_differed = False

    # What a subclass says

    @abstractmethod
    def open(self, space: FlatSpace, seed: int) -> None:
        """Gets the library ready to be asked, once.

        Args:
            space: What is searched.
            seed: What all its randomness is to derive from.
        """

    @abstractmethod
    def ask(self, trial_id: str) -> Values | str | None:
        """The library's next proposal.

        Returns:
            None if there is none before more is told; nothing may have changed then, as a replay
            has no such calls. `Searcher.FINISHED` if there will be none.
        """

    @abstractmethod
    def tell(self, trial_id: str, values: Values, loss: Any) -> None:
        """Tells the library what became of values.

        Args:
            trial_id: The trial that `ask` was called for; of values that were not asked for, a name
                that it was never called with.
            values: The values of the parameters that the configuration has.
            loss: The number to minimize, a list of them with several objectives; None if there is
                none, as the trial failed or gave no number.
        """

    def tell_evaluated(
        self,
        name: str,
        values: Values,
        loss: Any,
        pruned: bool,
        intermediate_values: Sequence[float],
    ) -> None:
        """Tells the library of values that were tried elsewhere: as `tell` does, unless overridden.

        Args:
            name: A name that `ask` was never called with.
            values: As of `tell`.
            loss: As of `tell`.
            pruned: Whether the trial was stopped early.
            intermediate_values: The metric at each iteration, as it was reported.
        """
        self.tell(name, values, loss)

    # What the experiment calls

    def set_search_properties(
        self, metric: Any, mode: Any, config: dict[str, Any], seed: int | None = None, **spec: Any
    ) -> bool:
        """Takes the metric, and the search space if none was given."""
        super().set_search_properties(metric, mode, config)
        self._check_objectives()
        self._awaits_metric = spec.get("strict_metric_checking", True)
        takes_config = self._given_space is None
        if self._is_open:  # what it knows, from a file or another experiment, is kept
            if takes_config:
                self._check_same(config)
            return takes_config
        self._is_open = True
        if self._seed is None:
            self._seed = _DEFAULT_SEED if seed is None else seed
        with preserved_globals():  # a library's import may draw, too
            self._open(config if takes_config else self._given_space)
        return takes_config

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns the next of the points, then what the library proposes."""
        space = self._opened()
        if self._points:
            values = self._completed(self._points.pop(0))
        else:
            num_asked = self._num_asked
            with self._streams():
                asked = self.ask(trial_id)
            if asked is None:
                self._num_asked = num_asked
            if not isinstance(asked, dict):
                return asked
            values = asked
        self._live[trial_id] = values
        return space.config(values)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells the library the trial's last value, or that it has none."""
        values = self._live.pop(trial_id, None)
        if values is None:
            return
        if result and not error:
            self._check_reported(trial_id, result)
        loss = None if error or result is None else self._loss_of(result)
        with self._telling():
            self.tell(trial_id, values, loss)

    def on_trial_recorded(self, trial_id: str, config: dict[str, Any]) -> bool | None:
        """Asks the library again, so that it is where it was, and holds to what the record has."""
        answers = super().on_trial_recorded(trial_id, config)
        asked = self._live.get(trial_id)
        try:
            recorded = self._recorded(config)
        except SearchSpaceError:  # such as an object that cannot be loaded here
            return answers
        if asked != recorded:
            if asked is not None:
                self._warn_of_difference(trial_id, asked, recorded)
                with self._streams():
                    self.tell(trial_id, asked, None)
            self._live[trial_id] = recorded
        return answers

    def add_evaluated_point(
        self,
        parameters: Mapping[str, Any],
        value: Any,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: Sequence[float] | None = None,
    ) -> None:
        """Tells the library of a configuration that was tried elsewhere.

        Args:
            parameters: The configuration; more keys than the search space has are ignored.
            value: Its value of the metric; a list with several objectives. NaN and None count as a
                failure.
            error: Whether it failed, whatever its value.
            pruned: Whether it was stopped early, which is a difference to Optuna.
            intermediate_values: The metric at each iteration, which Optuna takes.
        """
        if self._space is None:
            self._evaluated.append((dict(parameters), value, error, pruned, intermediate_values))
            return
        self._tell_evaluated(
            self._space.values(parameters),
            None if error else value,
            pruned and not error,
            intermediate_values or (),
        )

    def set_param_space(self, param_space: dict[str, Any]) -> None:
        """Takes over the objects of a search space that a restore was given again."""
        if self._given_space is None:
            self._space = self.read_space(param_space)

    # What helps subclasses

    def read_space(self, space: Any) -> FlatSpace:
        """A search space as it is worked with here; a subclass may know the library's own ones."""
        return FlatSpace(space, self._name)

    def refuse(self, parameter: Parameter, why: str) -> NoReturn:
        """Raises the error that the library cannot express a parameter."""
        self._refuse(f"{parameter.name}={shorten(parameter.domain)}: {why}")

    def bounded(self, parameter: Parameter) -> Float | Integer:
        """The domain of a parameter, which has to have bounds."""
        domain = parameter.domain
        if isinstance(domain, Normal):
            self.refuse(parameter, f"{self.library} has no normal distribution; use uniform")
        if not isinstance(domain, Float | Integer):
            self.refuse(parameter, f"{self.library} has no such parameter")
        return domain

    # What is done here

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _refuse(self, problem: str) -> NoReturn:
        raise ConfigError(f"{self._name}: {problem}")

    def _check_objectives(self) -> None:
        metrics = self.metric if isinstance(self.metric, list) else [self.metric]
        modes = self.mode if isinstance(self.mode, list) else [self.mode] * len(metrics)
        if None in metrics or None in modes:
            self._refuse("metric and mode are needed; set them here or in the TuneConfig")
        if len(metrics) > 1 and not self.has_objectives:
            self._refuse(f"metric={self.metric!r}: {self.library} takes one objective")
        if len(metrics) != len(modes):
            self._refuse(f"mode={self.mode!r} must have as many as metric={self.metric!r}")
        for mode in modes:
            check_mode(self._name, "mode", mode)
        self._signs = [1.0 if mode == "min" else -1.0 for mode in modes]

    def _open(self, space: Any) -> None:
        self._space = self.read_space(space)
        if type(self._space) is FlatSpace and not self._space.parameters:
            self._refuse("the search space has nothing to search for; give it a domain")
        self._check_parameters(self._space.parameters)
        with self._streams():
            self.open(self._space, int(self._seed or 0) % 2**32)
        points = [self._space.values(point, strict=True) for point in self._given_points]
        rewards = self._rewards
        self._points = points[len(rewards) :]
        for values, reward in zip(points, rewards, strict=False):
            self._tell_evaluated(values, reward)
        for arguments in self._evaluated:
            self.add_evaluated_point(*arguments)

    def _recorded(self, config: dict[str, Any]) -> Values:
        """The values of a recorded configuration."""
        return self._opened().values(config)

    def _check_same(self, space: Any) -> None:
        known, given = (
            [(each.name, _outline(each.domain)) for each in flat.parameters]
            for flat in (self._opened(), self.read_space(space))
        )
        if known != given:
            self._refuse(
                f"it has searched {shorten(dict(known))}, and cannot go on in "
                f"{shorten(dict(given))}; make a new one, with the points that it is to know"
            )

    def _check_reported(self, trial_id: str, result: dict[str, Any]) -> None:
        """Refuses to search blindly if the first trials do not report the metric at all."""
        names = self.metric if isinstance(self.metric, list) else [str(self.metric)]
        missing = [name for name in names if lookup(result, name, _NOTHING) is _NOTHING]
        if missing and self._awaits_metric:
            raise ConfigError(
                f"{self._name}(metric={missing[0]!r}): trial {trial_id} did not report it"
                f"{did_you_mean(missing[0], flatten(result))}; report it in every trial, or set "
                "TUNE_DISABLE_STRICT_METRIC_CHECKING=1 to let trials without it count as failed"
            )
        self._awaits_metric = False

    def _warn_of_difference(self, trial_id: str, asked: Values, recorded: Values) -> None:
        if self._has_differed:
            return
        self._has_differed = True
        logger.warning(
            "%s: asked again after a restore, %s proposes %s for trial %s, and not %s as before; "
            "the record counts. Seed what you give to the searcher for exact restores",
            *(self._name, self.library, shorten(asked), trial_id, shorten(recorded)),
        )

    def _tell_evaluated(
        self,
        values: Values,
        value: Any,
        pruned: bool = False,
        intermediate_values: Sequence[float] = (),
    ) -> None:
        values = self._completed(values)
        with self._telling():
            name, loss = f"evaluated {self._num_asked}", self._loss(value)
            self.tell_evaluated(name, values, loss, pruned, intermediate_values)

    def _check_parameters(self, parameters: list[Parameter]) -> None:
        for parameter in parameters:
            if parameter.condition and not self.has_conditions:
                choice = parameter.condition[-1][0]
                self.refuse(
                    parameter,
                    f"{self.library} has no parameters within the categories of a choice "
                    f"({choice})",
                )
        for parameter in parameters:
            if isinstance(parameter.domain, Categorical) and not self.has_categories:
                self.refuse(parameter, f"{self.library} has no categories, only numbers")

    def _opened(self) -> FlatSpace:
        if self._space is None:
            self._refuse("set_search_properties comes before suggest")
        return self._space

    def _completed(self, values: Values) -> Values:
        """Values with those drawn that are missing."""
        import numpy as np

        rng = np.random.default_rng([int(self._seed or 0), self._num_asked])
        self._num_asked += 1
        for parameter in self._opened().parameters:
            if parameter.name not in values and parameter.is_active(values):
                domain = parameter.domain
                values[parameter.name] = (
                    domain.draw_index(rng) if isinstance(domain, Categorical) else domain.draw(rng)
                )
        return values

    def _loss_of(self, result: dict[str, Any]) -> Any:
        if isinstance(self.metric, list):
            return self._loss([lookup(result, name) for name in self.metric])
        return self._loss(lookup(result, str(self.metric)))

    def _loss(self, value: Any) -> Any:
        """Values as numbers to minimize, None if one is no finite number."""
        values = value if isinstance(self.metric, list) else [value]
        if values is None:
            return None
        if not isinstance(values, list | tuple) or len(values) != len(self._signs):
            self._refuse(f"value={shorten(value)} must be a list, one for each of {self.metric}")
        losses = []
        for each, sign in zip(values, self._signs, strict=True):
            number = as_number(each)
            if number is None or not math.isfinite(number):
                return None
            losses.append(sign * number)
        return losses if isinstance(self.metric, list) else losses[0]

    def _telling(self) -> AbstractContextManager[None]:
        """What `tell` is called in; to seed streams for it would take longer than many tells."""
        if self.draws_when_told:
            return self._streams()
        self._num_asked += 1
        return nullcontext()

    @contextmanager
    def _streams(self) -> Iterator[None]:
        """While entered, what the library draws from global streams depends on the seed alone."""
        number = self._num_asked
        self._num_asked += 1
        with seeded_globals(hash((self._seed, number)) % 2**64):
            yield


def _outline(domain: Domain) -> str:
    """What tells a domain from others; of a choice how many categories, which may be objects."""
    if isinstance(domain, Categorical):
        return f"choice of {len(domain.categories)}"
    return str(domain)
