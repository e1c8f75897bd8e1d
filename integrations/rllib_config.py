"""RLlib's configurations: keys of all versions, translated to those of today."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from tuner.errors import ConfigError
from tuner.integrations.rllib_keys import (
    ATTRIBUTES,
    DEPRECATED,
    EPISODE_BUFFERS,
    GONE,
    MULTI_AGENT,
    NEW_STACK,
    RENAMED,
    Gone,
    Table,
)
from tuner.search_space.checks import same
from tuner.search_space.objects import outline
from tuner.search_space.structure import fresh_copy
from tuner.validation import did_you_mean, shorten

OWNER = "param_space"
_STACK = ("enable_rl_module_and_learner", "enable_env_runner_and_connector_v2")


def check_space(space: Mapping[str, Any], defaults: Mapping[str, Any], algorithm: str) -> None:
    """Refuses keys that are of no version of RLlib, and constants that mean nothing today.

    Args:
        space: A search space.
        defaults: The attributes of the algorithm's `AlgorithmConfig`.
        algorithm: The algorithm's name.

    Raises:
        ConfigError: There is such a key.
    """
    _check_keys(space, defaults, algorithm, OWNER)
    constants = {key: value for key, value in space.items() if _is_constant(value)}
    stack = {key: space[key] for key in _STACK if key in space}
    if stack.keys() <= constants.keys():
        translated(constants, defaults, algorithm)


def _is_constant(value: Any) -> bool:
    return all(kind != "the domain" for kind, _ in outline(value).values())


def _check_keys(
    keys: Mapping[str, Any], defaults: Mapping[str, Any], algorithm: str, owner: str
) -> None:
    """Refuses keys that are of no version of RLlib; names the nearest one that there is."""
    known = {*defaults, *ATTRIBUTES, *RENAMED, *GONE, *NEW_STACK, *_SPECIAL, *_ON_ANY_STACK}
    for key in keys:
        if key not in known:
            fix = did_you_mean(str(key), (name for name in known if not name.startswith("_")))
            raise ConfigError(
                f"{owner}[{key!r}]={shorten(keys[key])}: {algorithm} has no such setting{fix}"
            )


def translated(
    config: Mapping[str, Any], defaults: Mapping[str, Any], algorithm: str
) -> dict[str, Any]:
    """A configuration by the names that RLlib has today.

    Args:
        config: Keys and values, the keys of any version of RLlib.
        defaults: The attributes of the algorithm's `AlgorithmConfig`.
        algorithm: The algorithm's name.

    Returns:
        Values by attribute of `AlgorithmConfig`; of `_model_config` and `replay_buffer_config`
        only what differs from the defaults.

    Raises:
        ConfigError: A key is unknown or means nothing today, or two keys mean the same.

    Example:
        >>> defaults = {"num_env_runners": 2, "num_epochs": 30, "lambda_": 1.0}
        >>> translated({"num_workers": 4, "num_sgd_iter": 10, "lambda": 0.95}, defaults, "PPO")
        {'num_env_runners': 4, 'num_epochs': 10, 'lambda_': 0.95}
    """
    is_new = bool(next((config[key] for key in _STACK if key in config), True))
    translation = _Translation(defaults, algorithm, NEW_STACK if is_new else {})
    translation.add_all(config)
    settings = translation.settings()
    if is_new:
        _set_batch_size(settings, defaults)
    return settings


def space_of(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A search space of what an `AlgorithmConfig` sets, the values as they are.

    Args:
        settings: The attributes of the `AlgorithmConfig`, which may hold domains.
        defaults: Those of the algorithm's default.

    Example:
        >>> space_of({"lambda_": 0.9, "gamma": 0.99}, {"lambda_": 1.0, "gamma": 0.99})
        {'lambda': 0.9}
    """
    keys = {attribute: key for key, attribute in ATTRIBUTES.items()}
    space = {}
    for name, value in settings.items():
        default = defaults.get(name, _Missing)
        if name in ("algo_class", "_is_frozen") or same(value, default):
            continue
        if name == "model" and isinstance(value, dict):
            value = {key: part for key, part in value.items() if not same(part, default.get(key))}
        space[keys.get(name, name)] = value
    return space


def keeps_going(config: Mapping[str, Any]) -> bool:
    """Whether a configuration itself says that a trial goes on when its env runners fail.

    RLlib's default is to restart them, which does not say that a trial is to go on without any.

    Example:
        >>> keeps_going({"recreate_failed_workers": True}), keeps_going({"num_workers": 2})
        (True, False)
    """
    settings = ("restart_failed_env_runners", "ignore_env_runner_failures")
    return any(value and RENAMED.get(key, key) in settings for key, value in config.items())


class _Missing:
    """Equal to nothing."""


class _Translation:
    """Collects settings by today's names.

    Args:
        defaults: The attributes of the algorithm's `AlgorithmConfig`.
        algorithm: The algorithm's name.
        table: Old keys that mean something else, or nothing, on the API stack that is used; empty
            on the old one.
        owner: Where the keys are, for errors.

    Attributes:
        algorithm: The same.
    """

    def __init__(
        self, defaults: Mapping[str, Any], algorithm: str, table: Table, owner: str = OWNER
    ) -> None:
        self._owner = owner
        self._defaults = defaults
        self.algorithm = algorithm
        self._table = table
        self._values: dict[str, Any] = {}
        self._sources: dict[str, str] = {}

    def settings(self) -> dict[str, Any]:
        """What was collected, the parts of a dictionary put together."""
        settings = {name: value for name, value in self._values.items() if "/" not in name}
        for path in [name for name in self._values if "/" in name]:
            name, part = path.split("/")
            whole = settings.setdefault(name, {})
            if not isinstance(whole, dict):
                source, value = self._sources[path], self._values[path]
                raise ConfigError(
                    f"{self._owner}[{source!r}]={shorten(value)}: set it in {shorten(whole)}, "
                    "which is given as well"
                )
            whole.setdefault(part, self._values[path])
        _fit_buffer(settings.get("replay_buffer_config"), self._defaults)
        return settings

    def add_all(self, config: Mapping[str, Any]) -> None:
        """Takes in a configuration of the user's."""
        _check_keys(config, self._defaults, self.algorithm, self._owner)
        scheduled = {name for name in ("lr", "entropy_coeff") if config.get(f"{name}_schedule")}
        for key, value in config.items():
            if not (self._table and key in scheduled):  # a schedule wins, as it always has
                self.add(key, fresh_copy(value))

    def add(self, key: str, value: Any) -> None:
        """Takes in one key."""
        if key in _ON_ANY_STACK:
            _ON_ANY_STACK[key](self, value)
        elif self._table and (key in _SPECIAL or key in self._table):
            if key in self._defaults and same(value, self._defaults[key]):
                return
            if key in _SPECIAL:
                _SPECIAL[key](self, value)
            else:
                self._look_up(key, value, self._table[key], key)
        elif key in GONE or key in RENAMED:
            self._look_up(key, value, GONE.get(key) or RENAMED[key], key)
        elif not self._is_deprecated(key):
            self.put(key, value, key)
        elif not same(value, DEPRECATED):
            self.refuse(key, value, "nothing")

    def put(self, name: str, value: Any, source: str) -> None:
        """Sets today's setting of this name, which came from that key of the user's."""
        top, slash, part = name.partition("/")
        top = ATTRIBUTES.get(top, top)
        if top not in self._defaults:
            raise ConfigError(
                f"{self._owner}[{source!r}]={shorten(value)}: {self.algorithm} has no such setting"
            )
        name = f"{top}{slash}{part}"
        other = self._sources.setdefault(name, source)
        if other != source:
            raise ConfigError(
                f"{self._owner}[{source!r}]={shorten(value)} and {self._owner}[{other!r}]="
                f"{shorten(self._values[name])} are the same setting; give one of them"
            )
        self._values[name] = value

    def nested(self, key: str) -> _Translation:
        """An empty one for the settings in a key."""
        owner = f"{self._owner}[{key!r}]"
        return _Translation(self._defaults, self.algorithm, self._table, owner)

    def reject(self, key: str, value: Any, problem: str) -> NoReturn:
        """Raises the error that a value cannot work."""
        raise ConfigError(f"{self._owner}[{key!r}]={shorten(value)} {problem}")

    def refuse(self, key: str, value: Any, instead: str) -> NoReturn:
        """Raises the error that a key means nothing today."""
        successor, _, reason = instead.partition("nothing")
        fix = (
            f"use {successor}" if successor else f"leave it out{reason or ': it has no successor'}"
        )
        self.reject(key, value, f"means nothing in RLlib today; {fix}")

    def refuse_part(self, key: str, name: str, value: Any, known: Iterable[str]) -> NoReturn:
        """Raises the error that a key within a dictionary is of no version of RLlib."""
        raise ConfigError(
            f"{self._owner}[{key!r}][{name!r}]={shorten(value)}: there is no such "
            f"setting{did_you_mean(str(name), known)}"
        )

    def _look_up(self, key: str, value: Any, entry: str | Gone | Table, source: str) -> None:
        if same(value, DEPRECATED):
            return
        if isinstance(entry, Gone):
            if not any(same(value, neutral) for neutral in entry.neutral):
                self.refuse(source, value, entry.instead)
        elif isinstance(entry, str):
            if value is not None:
                self.put(entry, _buffer_type(value) if key == "type" else value, source)
        elif isinstance(value, Mapping):
            for name, part in value.items():
                default = f"{key}/{name}" if key == "replay_buffer_config" else None
                below = entry.get(name, default)
                if below is None:
                    self.refuse_part(key, name, part, entry)
                self._look_up(name, part, below, f"{key}.{name}")
        elif value is not None:
            self.reject(key, value, "must be a dictionary")

    def _is_deprecated(self, key: str) -> bool:
        default = self._defaults.get(key)
        return not isinstance(default, bool) and same(default, DEPRECATED)


def _add_num_gpus(translation: _Translation, value: Any) -> None:
    """GPUs of the process that trains, which learners are today: one each, if several."""
    if not value:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        translation.reject("num_gpus", value, "must be a number of GPUs")
    if value != int(value) and value > 1:
        translation.refuse("num_gpus", value, "num_learners and num_gpus_per_learner")
    translation.put("num_gpus_per_learner", min(value, 1), "num_gpus")
    if value > 1:
        translation.put("num_learners", int(value), "num_gpus")


_EPSILON_GREEDY = {"initial_epsilon", "final_epsilon", "epsilon_timesteps", "warmup_timesteps"}


def _add_exploration(translation: _Translation, value: Any) -> None:
    """DQN's epsilon-greedy exploration as the schedule that it is today."""
    kind = value.get("type") if isinstance(value, Mapping) else value
    if kind is None and value and value.keys() <= _EPSILON_GREEDY:
        kind = "EpsilonGreedy"
    if kind in (None, "StochasticSampling"):
        return
    if kind != "EpsilonGreedy":
        translation.refuse(
            "exploration_config", value, "an RLModule of your own, by rl_module_spec"
        )
    first, last = value.get("initial_epsilon", 1.0), value.get("final_epsilon", 0.05)
    warmup = value.get("warmup_timesteps", 0)
    constant = [(0, first)] if warmup else []
    schedule = [*constant, (warmup, first), (warmup + value.get("epsilon_timesteps", 10000), last)]
    translation.put("epsilon", schedule, "exploration_config")


def _add_prioritized_replay(translation: _Translation, value: Any) -> None:
    kind = "PrioritizedEpisodeReplayBuffer" if value else "EpisodeReplayBuffer"
    if value is not None and not same(value, DEPRECATED):
        translation.put("replay_buffer_config/type", kind, "prioritized_replay")


def _add_timesteps_per_iteration(translation: _Translation, value: Any) -> None:
    counted = "train" if translation.algorithm == "CQL" else "sample"
    if value is not None and not same(value, DEPRECATED):
        name = f"min_{counted}_timesteps_per_iteration"
        translation.put(name, value, "timesteps_per_iteration")


def _add_framework(translation: _Translation, value: Any) -> None:
    if value != "torch":
        translation.refuse("framework", value, 'framework="torch"')
    translation.put("framework", value, "framework")


def _add_multiagent(translation: _Translation, value: Any) -> None:
    if value is not None and not isinstance(value, Mapping):
        translation.reject("multiagent", value, "must be a dictionary")
    for name, each in (value or {}).items():
        if name not in MULTI_AGENT:
            translation.refuse_part("multiagent", name, each, MULTI_AGENT)
        if each is not None and not (name == "policies" and not each):
            translation.add(name, each)


def _add_callbacks(translation: _Translation, value: Any) -> None:
    if isinstance(value, Mapping) and value:
        instead = (
            "a subclass of ray.rllib.callbacks.callbacks.RLlibCallback that has these as methods, "
            "or such keys as callbacks_on_episode_end=function"
        )
        translation.refuse("callbacks", value, instead)
    if value is not None and value != {}:
        translation.put("callbacks", value, "callbacks")


def _add_evaluation_config(translation: _Translation, value: Any) -> None:
    """The settings that differ while evaluating, by today's names as well."""
    if isinstance(value, Mapping):
        nested = translation.nested("evaluation_config")
        nested.add_all(value)
        value = nested.settings()
    translation.put("evaluation_config", value, "evaluation_config")


def _leave_out(translation: _Translation, value: Any) -> None:
    """For settings of TensorFlow, which never touched torch."""


_SPECIAL: dict[str, Callable[[_Translation, Any], None]] = {
    "num_gpus": _add_num_gpus,
    "exploration_config": _add_exploration,
    "prioritized_replay": _add_prioritized_replay,
    "timesteps_per_iteration": _add_timesteps_per_iteration,
    "framework": _add_framework,
    "evaluation_config": _add_evaluation_config,
    "eager_max_retraces": _leave_out,
    "tf_session_args": _leave_out,
    "local_tf_session_args": _leave_out,
}

_ON_ANY_STACK: dict[str, Callable[[_Translation, Any], None]] = {
    "callbacks": _add_callbacks,
    "multiagent": _add_multiagent,
}


def _set_batch_size(settings: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    """Makes `train_batch_size` count where a default per learner would win."""
    total, each = "train_batch_size", "_train_batch_size_per_learner"
    if total not in settings or same(settings[total], defaults[total]):
        return
    if not same(settings.get(each, defaults[each]), defaults[each]):
        raise ConfigError(
            f"{OWNER}[{total!r}]={settings[total]!r} and {OWNER}['{each[1:]}']={settings[each]!r} "
            "are the same setting; give one of them"
        )
    if defaults[each] is not None:
        num_learners = settings.get("num_learners", defaults["num_learners"])
        settings[each] = settings[total] // max(num_learners, 1)


def _fit_buffer(buffer: Any, defaults: Mapping[str, Any]) -> None:
    """Completes a replay buffer of another type, which RLlib does not: it has other settings."""
    default = defaults.get("replay_buffer_config", {})
    if isinstance(buffer, dict) and buffer.get("type", default.get("type")) != default.get("type"):
        buffer.setdefault("capacity", default.get("capacity"))
        if buffer["type"] == "EpisodeReplayBuffer":
            buffer.pop("alpha", None)
            buffer.pop("beta", None)


def _buffer_type(kind: Any) -> Any:
    return EPISODE_BUFFERS.get(kind.rpartition(".")[2], kind) if isinstance(kind, str) else kind
