"""HyperOpt: tree-structured Parzen estimators as a searcher."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from tuner.errors import SearchSpaceError
from tuner.integrations.library_searcher import LibrarySearcher
from tuner.legacy.reward_attr import objective
from tuner.search.flat_space import FlatSpace, Parameter, Values
from tuner.search_space.checks import same
from tuner.search_space.domains import Categorical, Domain, Float, Integer, Normal
from tuner.search_space.structure import is_sequence
from tuner.validation import check_whole, shorten

if TYPE_CHECKING:
    from hyperopt.pyll import Apply


_ROUNDING = 1e-12  # how far beyond a bound a number may be, relative to the bounds


class HyperOptSearch(LibrarySearcher):
    """Asks HyperOpt's TPE, as HyperOpt's own `fmin` does.

    With one trial at a time it proposes what `fmin(..., rstate=numpy.random.default_rng(seed))`
    proposes for the same search space, if labels are flat names such as `"model/lr"`. `uniform`,
    `loguniform`, `randn` and their quantized forms become those of `hyperopt.hp`, whole numbers
    `quniform` or `qloguniform` half a step beyond the bounds, `choice` becomes `hp.choice`.

    Args:
        space: The search space, if it is not the `param_space`: a dict of ours, or expressions of
            `hyperopt.hp`, nested as they like; a configuration is then what HyperOpt's `space_eval`
            gives, such as tuples for lists, and has to be a dict.
        metric: The metric to optimize.
        mode: `"min"` or `"max"`.
        points_to_evaluate: Configurations to try first. With expressions of HyperOpt they are
            nested as the space and whole.
        n_initial_points: How many trials are drawn at random before TPE sets in.
        random_state_seed: The same as `seed`.
        gamma: TPE takes the best `gamma * sqrt(number of trials)` trials for good ones.
        evaluated_rewards: Values of the first of the points.
        seed: What all randomness derives from; None takes the experiment's.
        max_concurrent: How many trials may be unfinished at a time; None for no limit.
        reward_attr: As older scripts name a metric that is to grow.

    Raises:
        ConfigError: An argument cannot work.
        MissingDependencyError: HyperOpt is not installed.

    Example:
        >>> from tuner import uniform
        >>> searcher = HyperOptSearch(metric="loss", mode="min")
        >>> searcher.set_search_properties(None, None, {"x": uniform(0, 1)}, seed=1)
        True
        >>> 0 <= searcher.suggest("first")["x"] <= 1
        True

    Source: https://hyperopt.github.io/hyperopt; Bergstra, Bardenet, Bengio, Kégl: Algorithms for
    Hyper-Parameter Optimization, NIPS 2011.
    """

    library = "HyperOpt"
    module = "hyperopt"
    extra = "hyperopt"
    has_conditions = True
    draws_when_told = False

    def __init__(
        self,
        space: Any = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        n_initial_points: int = 20,
        random_state_seed: int | None = None,
        gamma: float = 0.25,
        evaluated_rewards: Sequence[Any] | None = None,
        seed: int | None = None,
        max_concurrent: int | None = None,
        reward_attr: str | None = None,
    ) -> None:
        metric, mode = objective(self._name, reward_attr, metric, mode)
        if max_concurrent is not None:
            fix = "use a whole number >= 1, or None for no limit"
            check_whole(self._name, "max_concurrent", max_concurrent, fix, least=1)
        self.max_concurrent = max_concurrent or 0
        if None not in (seed, random_state_seed) and seed != random_state_seed:
            self._refuse(f"seed={seed} and random_state_seed={random_state_seed}: give one of them")
        seed = random_state_seed if seed is None else seed
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)
        self._n_initial_points = n_initial_points
        self._gamma = gamma
        self._docs: dict[str, dict[str, Any]] = {}

    def read_space(self, space: Any) -> FlatSpace:
        """Reads expressions of HyperOpt as well."""
        if _is_of_hyperopt(space):
            return _Expressions(space, self._name)
        return super().read_space(space)

    def open(self, space: FlatSpace, seed: int) -> None:
        """Makes HyperOpt's view of the space, and its record of trials."""
        import hyperopt
        import numpy as np

        expressions = space.root if isinstance(space, _Expressions) else self._within(())
        try:
            self._domain = hyperopt.Domain(None, expressions)
        except hyperopt.exceptions.DuplicateLabel as label:
            self._refuse(f"space: two parameters have the label {label}; give each its own")
        self._trials = hyperopt.Trials()
        self._rng = np.random.default_rng(seed)

    def ask(self, trial_id: str) -> Values:
        """Has TPE suggest one trial, with what `fmin` would pass to it."""
        from hyperopt import base, tpe

        trials = self._trials
        new_ids = trials.new_trial_ids(1)
        trials.refresh()
        docs = tpe.suggest(
            new_ids,
            self._domain,
            trials,
            self._rng.integers(2**31 - 1),
            n_startup_jobs=self._n_initial_points,
            gamma=self._gamma,
            verbose=False,
        )
        doc = self._docs[trial_id] = self._insert(docs)
        return self._ours(base.spec_from_misc(doc["misc"]))

    def tell(self, trial_id: str, values: Values, loss: Any) -> None:
        """Ends the trial, or adds one that HyperOpt has not proposed."""
        from hyperopt import base

        doc = self._docs.pop(trial_id, None) or self._added(values)
        doc["state"] = base.JOB_STATE_DONE
        doc["result"] = (
            {"status": base.STATUS_FAIL}
            if loss is None
            else {"status": base.STATUS_OK, "loss": loss}
        )

    def _insert(self, docs: list[dict[str, Any]]) -> dict[str, Any]:
        """Inserts one trial and returns it as it is kept."""
        self._trials.insert_trial_docs(docs)
        self._trials.refresh()
        return self._trials.trials[-1]  # type: ignore[no-any-return]

    def _added(self, values: Values) -> dict[str, Any]:
        (tid,) = self._trials.new_trial_ids(1)
        labels = self._domain.params
        misc = {
            "tid": tid,
            "cmd": self._domain.cmd,
            "workdir": self._domain.workdir,
            "idxs": {label: [tid] if label in values else [] for label in labels},
            "vals": {label: [values[label]] if label in values else [] for label in labels},
        }
        new = self._domain.new_result()
        return self._insert(self._trials.new_trial_docs([tid], [None], [new], [misc]))

    def _ours(self, spec: dict[str, Any]) -> Values:
        """The values of what HyperOpt has drawn by label."""
        space = self._opened()
        if isinstance(space, _Expressions):
            return spec
        values: Values = {}
        for parameter in space.parameters:
            if parameter.is_active(values):
                domain: Any = parameter.domain
                drawn: Any = spec.get(parameter.name, _only(domain))
                values[parameter.name] = (
                    int(drawn) if isinstance(domain, Categorical) else domain.nearest(drawn)
                )
        return values

    def _within(self, condition: tuple[tuple[str, int], ...]) -> dict[str, Any]:
        """Expressions by label of the parameters that a condition has."""
        return {
            each.name: self._expression(each)
            for each in self._opened().parameters
            if each.condition == condition and _only(each.domain) is None
        }

    def _expression(self, parameter: Parameter) -> Apply:
        from hyperopt import hp

        name, domain = parameter.name, parameter.domain
        if isinstance(domain, Categorical):
            inner = [
                self._within((*parameter.condition, (name, index)))
                for index in range(len(domain.categories))
            ]
            return hp.choice(name, inner)
        if isinstance(domain, Normal):
            normal: tuple[Any, ...] = (name, domain.mean, domain.sd)
            return hp.normal(*normal) if domain.q is None else hp.qnormal(*normal, domain.q)
        domain = self.bounded(parameter)
        low, high, q = domain.lower, domain.upper, domain.q
        if isinstance(domain, Integer):
            # Not hp.randint, to which whole numbers are categories without an order.
            q = domain.q or 1
            low, high = domain.least - q / 2, domain.most + q / 2
        if domain.log:
            low, high = math.log(low), math.log(high)
            return hp.qloguniform(name, low, high, q) if q else hp.loguniform(name, low, high)
        return hp.quniform(name, low, high, q) if q else hp.uniform(name, low, high)


class _Expressions(FlatSpace):
    """A search space of HyperOpt's expressions; its values are those of the labels."""

    def __init__(self, space: Any, owner: str) -> None:
        from hyperopt.pyll import as_apply, dfs

        self.parameters = []
        self.root: Apply = as_apply(space)
        self._owner = owner
        for node in dfs(self.root):
            if isinstance(getattr(node, "obj", None), Domain):
                raise SearchSpaceError(
                    f"{owner}: {shorten(node.obj)} stands among expressions of HyperOpt; "
                    "use either hyperopt.hp or the domains of tuner for all of the space"
                )

    def config(self, values: Mapping[str, Any]) -> dict[str, Any]:
        from hyperopt import space_eval

        config = space_eval(self.root, values)
        if not isinstance(config, dict):
            raise SearchSpaceError(
                f"{self._owner}: space gives {shorten(config)}, and a configuration must be a dict"
            )
        return config

    def values(self, config: Mapping[str, Any], *, strict: bool = False) -> Values:
        found: Values = {}
        if not _reads(self.root, config, found, strict):
            raise SearchSpaceError(
                f"{self._owner}: the point {shorten(dict(config))} is none of the space; with "
                "expressions of HyperOpt it must be nested as the space, and whole"
            )
        return found


def _reads(node: Apply, value: Any, found: Values, strict: bool) -> bool:
    """Whether an expression can give a value; `found` then has the values of its labels."""
    if node.name == "literal":
        return same(node.obj, value)
    if node.name == "hyperopt_param":
        found[node.arg["label"].obj] = value
        return _is_number(value) and _can_give(node.arg["obj"], value)
    if node.name == "float":
        return _reads(node.pos_args[0], value, found, strict)
    if node.name == "int":
        is_whole = _is_number(value) and value == int(value)
        return is_whole and _reads(node.pos_args[0], int(value), found, strict)
    if node.name == "pos_args":
        return (
            is_sequence(value)
            and len(value) == len(node.pos_args)
            and all(_reads(*each, found, strict) for each in zip(node.pos_args, value, strict=True))
        )
    if node.name == "dict":
        known = dict(node.named_args)
        return (
            isinstance(value, Mapping)
            and known.keys() <= value.keys()
            and (not strict or value.keys() <= known.keys())
            and all(_reads(inner, value[key], found, strict) for key, inner in known.items())
        )
    if node.name == "switch":
        drawn, *options = node.pos_args
        for index, option in enumerate(options):
            inner: Values = {}
            if _reads(option, value, inner, strict):
                found.update(inner)
                return _reads(drawn, index, found, strict)
    return False


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def _can_give(distribution: Apply, number: float) -> bool:
    """Whether a distribution of HyperOpt can give a number; whether a step fits is not checked."""
    kind = distribution.name
    given = {name: getattr(node, "obj", None) for name, node in distribution.arg.items()}
    low, high, q = (given.get(name) for name in ("low", "high", "q"))
    if kind == "randint":
        low, high = (0, low) if high is None else (low, high)
        return low is None or high is None or low <= number < high
    if kind in ("lognormal", "qlognormal"):
        return number > 0 or (number == 0 and q is not None)
    if low is None or high is None:  # normal, or the bounds are expressions
        return True
    if kind in ("loguniform", "qloguniform"):
        low, high = math.exp(low), math.exp(high)
    if q is not None:
        low, high = min(low, round(low / q) * q), max(high, round(high / q) * q)
    slack = _ROUNDING * max(abs(low), abs(high))
    return bool(low - slack <= number <= high + slack)


def _is_of_hyperopt(part: Any) -> bool:
    from hyperopt.pyll import Apply

    if isinstance(part, Mapping):
        return any(map(_is_of_hyperopt, part.values()))
    return any(map(_is_of_hyperopt, part)) if is_sequence(part) else isinstance(part, Apply)


def _only(domain: Domain) -> float | None:
    """The value of a domain that has one value only, which HyperOpt does not take."""
    if isinstance(domain, Float) and domain.lower == domain.upper:
        return domain.lower
    return domain.mean if isinstance(domain, Normal) and domain.sd == 0 else None
