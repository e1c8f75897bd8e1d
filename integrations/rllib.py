"""RLlib: `Tuner("PPO", …)`, and any other algorithm of RLlib, by name or as its class.

The algorithm is a plain training object within a trial: built, trained, saved and loaded. Nothing
of `ray.tune`, which RLlib brings along, runs the experiment. Ray is imported when an algorithm is
asked for, not with this module.
"""

from __future__ import annotations

import functools
import importlib
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from tuner.errors import MissingDependencyError, TrainableError
from tuner.integrations.rllib_config import check_space, keeps_going, space_of, translated
from tuner.integrations.rllib_metrics import with_old_names
from tuner.placement import PlacementGroupFactory
from tuner.trainable.trainable import Trainable

NAMES = frozenset(
    {"APPO", "BC", "CQL", "DQN", "DreamerV3", "IMPALA", "IQL", "MARWIL", "PPO", "SAC"}
    # Of earlier versions, for an error that says so.
    | {"A2C", "A3C", "AlphaStar", "AlphaZero", "ApexDDPG", "ApexDQN", "APEX", "APEX_DDPG", "ARS"}
    | {"BanditLinTS", "BanditLinUCB", "CRR", "DDPG", "DDPPO", "DT", "Dreamer", "ES", "MADDPG"}
    | {"LeelaChessZero", "MAML", "MBMPO", "PG", "QMIX", "R2D2", "RandomAgent", "RNNSAC"}
    | {"SimpleQ", "SlateQ", "TD3"}
)
"""Names of algorithms of which RLlib has, or has had, one."""

_STEPS = ("env_runners", "num_env_steps_sampled_lifetime")
_KL_FILE = "kl_coefficients.json"


def register_env(name: str, env_creator: Callable[[Any], Any]) -> None:
    """Makes an environment known under a name, in every process that trains or samples.

    Args:
        name: The value of `"env"` in a configuration. Ids of gymnasium need no registration.
        env_creator: Makes the environment from its `env_config`. It travels with the trainable, so
            it must be possible to pickle it, and a restore has it again.

    Raises:
        MissingDependencyError: RLlib is not installed.
    """
    _environments.add(name, env_creator)


def trainable_named(name: str) -> type[Trainable] | None:
    """The trainable for the name of an algorithm, None if RLlib has never had one of that name.

    Raises:
        TrainableError: Today's RLlib has none of that name.
        MissingDependencyError: RLlib is not installed.
    """
    registry = sys.modules.get("ray.rllib.algorithms.registry")
    if name not in NAMES and name not in getattr(registry, "ALGORITHMS", ()):
        return None
    algorithms = _imported("ray.rllib.algorithms.registry").ALGORITHMS
    if name not in algorithms:
        version, known = _imported("ray").__version__, ", ".join(sorted(algorithms))
        raise TrainableError(
            f"Tuner: RLlib {version} has no algorithm {name!r} any more; it has {known}"
        )
    return as_trainable(algorithms[name]()[0])


def as_trainable(trainable: Any) -> type[Trainable]:
    """The trainable for a class of RLlib's.

    Raises:
        TrainableError: It is no algorithm.
    """
    algorithm = _imported("ray.rllib.algorithms.algorithm").Algorithm
    if not (isinstance(trainable, type) and issubclass(trainable, algorithm)):
        raise TrainableError(
            f"Tuner: trainable={trainable!r:.100} is no algorithm of RLlib; give a name such as "
            "'PPO' or a class, and its AlgorithmConfig as param_space"
        )
    return _subclass(trainable)


@functools.cache
def _subclass(algorithm: type) -> type[Trainable]:
    """A class that pickles as little but references, and as the environments."""
    members = {"algorithm": algorithm, "environments": _environments, "__module__": __name__}
    return type(algorithm.__name__, (RLlibTrainable,), members)


class RLlibTrainable(Trainable):
    """Base of the trainables that hold an algorithm of RLlib.

    The configuration of a trial keeps the user's keys, so that schedulers can change them; they are
    translated to today's when the algorithm is built. Its `seed` derives from that of the trial.

    Attributes:
        algorithm: RLlib's class.
        algo: The object of that class that is trained.
    """

    uses_ray = True
    algorithm: ClassVar[Any]
    environments: ClassVar[_Environments]

    @classmethod
    def as_param_space(cls, param_space: Any) -> dict[str, Any]:
        """The search space as a dictionary; of an `AlgorithmConfig`, what is not the default.

        Raises:
            ConfigError: A key is of no version of RLlib, or a constant means nothing today.
        """
        defaults = vars(cls.algorithm.get_default_config())
        config_class = _imported("ray.rllib.algorithms.algorithm_config").AlgorithmConfig
        if isinstance(param_space, config_class):
            param_space = space_of(vars(param_space), defaults)
        if isinstance(param_space, dict):
            check_space(param_space, defaults, cls.algorithm.__name__)
        return param_space  # type: ignore[no-any-return]

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
        """What the algorithm asks for: its own process, env runners, learners."""
        try:
            settings = cls.settings_for(config)
            request = cls.algorithm.default_resource_request(settings.copy(copy_frozen=False))
        except Exception:  # what makes no algorithm is an error of its trial, in `setup`
            return PlacementGroupFactory([{"CPU": 1}])
        bundles = [{}, *request.bundles] if request.head_bundle_is_empty else request.bundles
        return PlacementGroupFactory(bundles, request.strategy)

    @classmethod
    def settings_for(cls, config: dict[str, Any]) -> Any:
        """RLlib's `AlgorithmConfig` for a trial's configuration.

        Raises:
            ConfigError: A key is unknown or means nothing today.
        """
        settings = cls.algorithm.get_default_config()
        values = translated(config, vars(settings), cls.algorithm.__name__)
        model = values.pop("_model_config", {})
        agents = {name: values.pop(name) for name in _MULTI_AGENT if name in values}
        for name, value in _PATIENCE.items():
            setattr(settings, name, value)
        settings.update_from_dict(values)
        settings.multi_agent(**agents)
        settings.rl_module(model_config=model)
        return settings

    def setup(self, config: dict[str, Any]) -> None:
        self.environments.register()
        settings = self.settings_for(config)
        if settings.seed is None:
            settings.seed = random.getrandbits(31)  # the trial's stream, which is seeded
        if settings.output == "logdir":  # which RLlib takes for a name below where a process runs
            settings.output = self.logdir
        self._restarts_env_runners = keeps_going(config)
        try:
            self.algo = self._built(settings)
        except IndexError:  # RLlib has looked for an env runner, and only logged why there is none
            settings.restart_failed_env_runners = settings.ignore_env_runner_failures = False
            settings.validate_env_runners_after_construction = True
            self._built(settings).stop()  # raises what the env runner does
            raise

    def _built(self, settings: Any) -> Any:
        """The algorithm, of which nothing lies in Ray's own folder of results."""
        algorithm = self.algorithm.__new__(self.algorithm)
        algorithm._setup_logdir = lambda: setattr(algorithm, "_logdir", self.logdir)
        algorithm.__init__(config=settings.copy(copy_frozen=False))
        return algorithm

    def step(self) -> dict[str, Any]:
        result = self.algo.train()
        if not self._restarts_env_runners:
            self._check_env_runners()
        return with_old_names(result)

    def _check_env_runners(self) -> None:
        """Fails where RLlib would go on without any env runner, and report what it has not sampled.

        Raises:
            TrainableError: All env runners have failed.
        """
        group = getattr(self.algo, "env_runner_group", None)
        if group is None or group.num_healthy_remote_env_runners():
            return
        num_workers = group.num_remote_env_runners()
        if num_workers:
            raise TrainableError(
                f"all env runners have failed (num_workers={num_workers}): their output says why, "
                "and so does the trial's error with num_workers=0; with "
                "param_space['restart_failed_env_runners']=True the trial goes on without them"
            )

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.algo.save_checkpoint(checkpoint_dir)
        if self._has_learners():
            coefficients = _first(self.algo.learner_group.foreach_learner(_kl_coefficients))
            state = {"initial": self.algo.config.get("kl_coeff"), "current": coefficients}
            Path(checkpoint_dir, _KL_FILE).write_text(json.dumps(state))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Takes up weights and counters; what the configuration sets stays as that has it.

        RLlib's optimizers would bring along the learning rate that the checkpoint was trained with,
        an adaptive KL coefficient would begin anew, and an env runner that is busy just then would
        miss the weights and sample with its own.
        """
        if not self._has_learners():
            self.algo.load_checkpoint(checkpoint)
            self.algo.env_runner.foreach_policy(_set_learning_rate)
            return
        learners = self.algo.learner_group
        optimizers = _first(learners.foreach_learner(_optimizer_settings))
        self.algo.load_checkpoint(checkpoint)
        file = Path(checkpoint, _KL_FILE)
        kl = json.loads(file.read_text()) if file.exists() else {}
        is_same = kl.get("initial") == self.algo.config.get("kl_coeff")
        configure = functools.partial(
            _configure,
            optimizers=optimizers,
            kl_coefficients=kl.get("current", {}) if is_same else {},
            timestep=self.algo.metrics.peek(_STEPS, default=0),
        )
        for done in learners.foreach_learner(configure):
            done.get()
        state = learners.get_state(components="learner/rl_module", inference_only=True)["learner"]
        weights = functools.partial(_set_weights, state=_imported("ray").put(state))
        self.algo.env_runner_group.foreach_env_runner(weights)

    def cleanup(self) -> None:
        self.algo.stop()

    def _has_learners(self) -> bool:
        return bool(self.algo.config.enable_rl_module_and_learner)


class _Environments:
    """The environments of this process; unpickled, they are those of another one too."""

    def __init__(self) -> None:
        self._creators: dict[str, Callable[[Any], Any]] = {}

    def add(self, name: str, creator: Callable[[Any], Any]) -> None:
        """Registers an environment here."""
        _imported("ray.tune.registry").register_env(name, creator)
        self._creators[name] = creator

    def register(self) -> None:
        """Registers again what Ray has forgotten, as with a cluster that was shut down."""
        registry = _imported("ray.tune.registry")
        for name, creator in self._creators.items():
            if not registry._global_registry.contains(registry.ENV_CREATOR, name):
                registry.register_env(name, creator)

    def __reduce__(self) -> tuple[Any, ...]:
        return _loaded_environments, (self._creators,)


def _loaded_environments(creators: dict[str, Callable[[Any], Any]]) -> _Environments:
    for name, creator in creators.items():
        if name not in _environments._creators:
            _environments.add(name, creator)
    return _environments


_environments = _Environments()
_PATIENCE = {
    "sample_timeout_s": None,  # what a slow env runner has sampled is not discarded
    "delay_between_env_runner_restarts_s": 1.0,  # all others wait so long for one that has failed
}
"""What holds where the user has said nothing else."""

_MULTI_AGENT = ("policies", "policy_mapping_fn", "policies_to_train", "count_steps_by")


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"algorithms of RLlib need Ray, torch and gymnasium ({error}): "
            "pip install 'tuner[rllib]'"
        ) from error


# What is done in each learner and env runner, which may be processes of their own


def _optimizers(learner: Any) -> dict[str, Any]:
    return {
        f"{module}/{name}": optimizer
        for module in [*learner.module.keys(), "__all_modules__"]
        for name, optimizer in learner.get_optimizers_for_module(module)
    }


def _optimizer_settings(learner: Any) -> dict[str, list[dict[str, Any]]]:
    """The settings of each optimizer, by group of parameters, without the parameters."""
    return {
        name: [{key: group[key] for key in group if key != "params"} for group in each.param_groups]
        for name, each in _optimizers(learner).items()
    }


def _kl_coefficients(learner: Any) -> dict[str, float]:
    return {
        module: float(value)
        for module, value in getattr(learner, "curr_kl_coeffs_per_module", {}).items()
    }


def _configure(
    learner: Any,
    *,
    optimizers: dict[str, list[dict[str, Any]]],
    kl_coefficients: dict[str, float],
    timestep: int,
) -> None:
    """Sets optimizers and KL coefficients; a learning rate that has a schedule is where that is."""
    for name, optimizer in _optimizers(learner).items():
        for group, settings in zip(optimizer.param_groups, optimizers[name], strict=True):
            group.update(settings)
        schedule = learner._optimizer_lr_schedules.get(optimizer)
        if schedule is not None:
            learner._set_optimizer_lr(optimizer, lr=schedule.update(timestep=timestep))
    for module, value in kl_coefficients.items():
        learner.curr_kl_coeffs_per_module[module].data.fill_(value)


def _set_weights(env_runner: Any, *, state: Any) -> None:
    """Sets the weights of an env runner, also where it has seen later ones."""
    env_runner._weights_seq_no = 0
    env_runner.set_state(_imported("ray").get(state))


def _first(results: Any) -> Any:
    """The value of the first learner: all are alike."""
    return next(iter(results)).get()


def _set_learning_rate(policy: Any, policy_id: str, **kwargs: Any) -> None:
    """The same for the old API stack."""
    for optimizer in policy._optimizers:
        for group in optimizer.param_groups:
            group["lr"] = policy.cur_lr
