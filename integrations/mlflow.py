"""MLflow: one run per trial, below the run that surrounds the experiment.

`MLflowLoggerCallback` records what trials report; `setup_mlflow` is for trials that speak to MLflow
themselves. Importing this module does not import MLflow, which takes more than a second.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from tuner.callbacks.logger import LoggerCallback
from tuner.errors import ConfigError, DeliveryError, MissingDependencyError
from tuner.integrations.mlflow_patience import WAIT_VARIABLE, wait_s
from tuner.integrations.mlflow_values import PARENT_RUN_ID, absolute_uri
from tuner.validation import shorten

if TYPE_CHECKING:
    from tuner.callbacks.callback import Callback
    from tuner.experiment.retention import Retention
    from tuner.experiment.trial import Trial
    from tuner.integrations.mlflow_process import SenderProcess
    from tuner.storage.storage import Storage

logger = logging.getLogger(__name__)

_PARENT = "TUNER_MLFLOW_PARENT_RUN_ID"
_URI = "TUNER_MLFLOW_TRACKING_URI"
_EXPERIMENT = "TUNER_MLFLOW_EXPERIMENT_NAME"
_SURROUNDING = "TUNER_MLFLOW_SURROUNDING_RUN_ID"
_URI_OF_DRIVER = "TUNER_MLFLOW_DRIVER_TRACKING_URI"
_TOKEN = "MLFLOW_TRACKING_TOKEN"
_JOB_RUNS = ("MLFLOW_RUN_ID", "AZUREML_RUN_ID")


class MLflowLoggerCallback(LoggerCallback):
    """Makes an MLflow run of each trial, with its parameters, metrics and state.

    A process of its own follows the experiment's journal and sends, so a slow or dead server slows
    nothing. The journal is the buffer: what the server has not taken when the experiment ends, and
    for `TUNER_MLFLOW_WAIT_S` seconds (30) after it last took something, is named in a message,
    and `Tuner.restore(path).fit()` delivers it. Nothing is sent twice.

    Runs are nested below the run that the tag `mlflow.parentRunId` names
    (`mlflow.utils.mlflow_tags.MLFLOW_PARENT_RUN_ID`), else below the active run of the driver,
    else below the job's run (`MLFLOW_RUN_ID`, `AZUREML_RUN_ID`). MLflow shows runs below their
    parent only in the same experiment: with a parent they go to its experiment, with a warning if
    `experiment_name` is another one.

    * Metrics: the numbers of each result, nested keys joined by `/`; truth values as 0 and 1, NaN
      too, and no texts. Left out, even if a trial reports them itself, are `timestamp`, `pid`,
      `done`, `time_since_restore` and `iterations_since_restore`. The step is `timesteps_total`
      if that is reported, else `training_iteration`. MLflow cannot take back a point, so what a
      trial that was tried again reports a second time is not sent again.
    * Parameters: the configuration. Of values with more than 6000 characters MLflow gets the
      beginning, and `params.json` among the artifacts has them whole. What a scheduler changes,
      as population based training does, becomes the metric and the tag `config/<name>`, since
      MLflow refuses to change a parameter.
    * State: FINISHED, FAILED, or KILLED if the experiment was cut off before the trial had ended.
      A restore goes on in the same run; a trial that it starts anew (`restart_errored`) gets
      another one.

    Overriding `log_trial_result` and its kin has no effect, as none of them sends anything.

    Args:
        tracking_uri: The server or database; without it `MLFLOW_TRACKING_URI`, else what MLflow
            uses in the driver.
        registry_uri: The model registry, if it is another one.
        experiment_name: The MLflow experiment, which is created if it does not exist. Without it
            `MLFLOW_EXPERIMENT_ID`, `MLFLOW_EXPERIMENT_NAME`, else the name of the experiment.
        tags: Tags of every run.
        tracking_token: Sets `MLFLOW_TRACKING_TOKEN`. It is not stored: a restore in another
            process takes it from there.
        save_artifact: Whether the files of a trial, with its checkpoints, are sent when it ends.
        log_params_on_trial_end: Whether parameters are sent when a trial ends, with the values
            that it has then.

    Raises:
        MissingDependencyError: MLflow is not installed.
        ConfigError: An argument cannot work.

    Example:
        >>> import tuner as tune
        >>> callback = MLflowLoggerCallback("http://localhost:5000", experiment_name="mnist")
        >>> config = tune.RunConfig(callbacks=[callback])
    """

    in_recorder: ClassVar[bool] = True

    def __init__(
        self,
        tracking_uri: str | None = None,
        *,
        registry_uri: str | None = None,
        experiment_name: str | None = None,
        tags: dict[str, Any] | None = None,
        tracking_token: str | None = None,
        save_artifact: bool = False,
        log_params_on_trial_end: bool = False,
    ) -> None:
        _check_installed("MLflowLoggerCallback")
        _check("MLflowLoggerCallback", "tracking_uri", tracking_uri, str | os.PathLike)
        _check("MLflowLoggerCallback", "registry_uri", registry_uri, str | os.PathLike)
        _check("MLflowLoggerCallback", "experiment_name", experiment_name, str)
        _check("MLflowLoggerCallback", "tags", tags, dict)
        if tracking_token:
            os.environ[_TOKEN] = tracking_token
        here = os.getcwd()
        self.tracking_uri = None if tracking_uri is None else absolute_uri(tracking_uri, here)
        self.registry_uri = None if registry_uri is None else absolute_uri(registry_uri, here)
        self.experiment_name = experiment_name
        self.writes_to = (
            f"the MLflow experiment {experiment_name or 'of its default name'!r} at "
            f"{self.tracking_uri or 'the default server'}"
        )
        self.tags = dict(tags or {})
        self.should_save_artifact = save_artifact
        self.log_params_on_trial_end = log_params_on_trial_end
        self._sender: SenderProcess | None = None
        self._ended: list[list[str]] = [[], []]  # since the last flush, and before it

    @property
    def delivers_to(self) -> str:
        return f"MLflow (at most {wait_s():g} s without progress, {WAIT_VARIABLE})"

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        *,
        experiment_path: str | None = None,
        storage: Storage | None = None,
        retention: Retention | None = None,
        on_progress: Callable[[], None] = lambda: None,
        **info: Any,
    ) -> None:
        from tuner.integrations.mlflow_destination import Address
        from tuner.integrations.mlflow_process import SenderProcess
        from tuner.integrations.mlflow_sender import Task

        if experiment_path is None:
            raise ConfigError("MLflowLoggerCallback: it runs in a recorder process only")
        address = Address(
            tracking_uri=self.tracking_uri or os.environ.get(_URI_OF_DRIVER),
            registry_uri=self.registry_uri,
            experiment_name=self.experiment_name,
            tags=self.tags,
            parent_run_id=self.tags.get(PARENT_RUN_ID) or _parent_of_process(_SURROUNDING),
            default_name=os.path.basename(experiment_path),
        )
        self._on_progress = on_progress
        key = f"{self.tracking_uri}\n{self.experiment_name}".encode()
        self._sender = SenderProcess(
            Task(
                path=experiment_path,
                storage=storage,
                retention=retention,
                address=address,
                params_at_end=self.log_params_on_trial_end,
                save_artifacts=self.should_save_artifact,
                name=f"mlflow-{hashlib.sha256(key).hexdigest()[:8]}",
            )
        )

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        self._ended[0].append(trial.trial_id)

    def flush(self) -> None:
        # Loggers after this one write their files later in the same round.
        now, before = self._ended
        self._ended = [[], now]
        if self._sender is None:
            return
        self._sender.keep_alive()
        if before and self.should_save_artifact:
            self._sender.tell_complete(before)

    def close(self) -> None:
        if self._sender is None:
            return
        messages = self._sender.finish(self._on_progress)
        self._sender = None
        if messages:
            raise DeliveryError("\n".join(messages))


def setup_mlflow(
    config: dict[str, Any] | None = None,
    tracking_uri: str | None = None,
    registry_uri: str | None = None,
    experiment_id: str | None = None,
    experiment_name: str | None = None,
    tracking_token: str | None = None,
    artifact_location: str | None = None,
    run_name: str | None = None,
    create_experiment_if_not_exists: bool = False,
    tags: dict[str, Any] | None = None,
    rank_zero_only: bool = True,
) -> ModuleType:
    """Starts an MLflow run for the trial that calls it, and returns the `mlflow` module.

    The run is nested as those of `MLflowLoggerCallback` are, and goes to its parent's experiment.
    It ends with the trial: FINISHED, or FAILED with an error. A trial that goes on later, after a
    pause or a failure, goes on in the same run. Outside of a trial it starts a run all the same.

    Args:
        config: What is logged as parameters. What a trial that goes on has other values of is
            logged as a tag `config/<name>`.
        tracking_uri: The server or database; without it the one of the experiment's
            `MLflowLoggerCallback`, `MLFLOW_TRACKING_URI`, or what MLflow uses in the driver.
        registry_uri: The model registry, if it is another one.
        experiment_id: Id of the MLflow experiment, where there is no parent.
        experiment_name: Its name, if there is no experiment of this id. Without both it is that of
            the `MLflowLoggerCallback`, `MLFLOW_EXPERIMENT_ID`, `MLFLOW_EXPERIMENT_NAME`, else the
            name of the experiment, which is created if it does not exist.
        tracking_token: Sets `MLFLOW_TRACKING_TOKEN` in this process.
        artifact_location: Where artifacts of a new MLflow experiment go.
        run_name: The run's name, the trial's without it.
        create_experiment_if_not_exists: Whether an MLflow experiment of this name that does not
            exist is created; otherwise that is an error.
        tags: Tags of the run.
        rank_zero_only: Without effect: a trial is one process.

    Raises:
        MissingDependencyError: MLflow is not installed.
        ConfigError: An argument cannot work.
        TunerError: The server has not answered for `TUNER_MLFLOW_WAIT_S` seconds (30), or refuses.

    Example:
        >>> def train(config):
        ...     mlflow = setup_mlflow(config, tracking_uri="http://localhost:5000")
        ...     mlflow.log_metric("loss", 0.5, step=1)
    """
    _check_installed("setup_mlflow")
    _check("setup_mlflow", "config", config, dict)
    _check("setup_mlflow", "tags", tags, dict)
    _check("setup_mlflow", "tracking_uri", tracking_uri, str | os.PathLike)
    _check("setup_mlflow", "registry_uri", registry_uri, str | os.PathLike)
    for name, text in (
        ("experiment_id", experiment_id),
        ("experiment_name", experiment_name),
        ("tracking_token", tracking_token),
        ("artifact_location", artifact_location),
        ("run_name", run_name),
    ):
        _check("setup_mlflow", name, text, str)
    from tuner.integrations.mlflow_destination import Address
    from tuner.integrations.mlflow_trial import start_run
    from tuner.trainable.session import get_context

    if tracking_token:
        os.environ[_TOKEN] = tracking_token
    tags = tags or {}
    parent = tags.get(PARENT_RUN_ID) or _parent_of_process(_PARENT)
    is_named = bool(experiment_id or experiment_name)
    of_callback = None if parent or is_named else os.environ.get(_EXPERIMENT)
    address = Address(
        tracking_uri=os.fspath(tracking_uri) if tracking_uri else os.environ.get(_URI),
        registry_uri=None if registry_uri is None else os.fspath(registry_uri),
        experiment_id=experiment_id,
        experiment_name=experiment_name or of_callback,
        tags=tags,
        parent_run_id=parent,
        default_name=get_context().get_experiment_name() or "Default",
        creates=create_experiment_if_not_exists or not is_named,
        artifact_location=artifact_location,
    )
    return start_run(address, config or {}, run_name)


def surrounding_variables(callbacks: Sequence[Callback]) -> dict[str, str]:
    """What tells recorder and trials the server, the experiment and the run to nest theirs in.

    Trials follow the first MLflow callback, and each callback what it names itself.

    Args:
        callbacks: Those of the experiment, whose MLflow callback may name them.

    Returns:
        Environment variables for their processes.
    """
    ours = next((each for each in callbacks if isinstance(each, MLflowLoggerCallback)), None)
    surrounding, of_driver = surrounding_run(), uri_of_driver()
    parent = ours.tags.get(PARENT_RUN_ID) if ours is not None else None
    uri = ours.tracking_uri if ours is not None else None
    known = {
        _PARENT: parent or surrounding,
        _SURROUNDING: surrounding,
        _URI: uri or of_driver,
        _URI_OF_DRIVER: of_driver,
        _EXPERIMENT: ours.experiment_name if ours is not None else None,
    }
    return {name: value for name, value in known.items() if value is not None}


def surrounding_run() -> str | None:
    """The run that surrounds an experiment of this process, None without one."""
    mlflow = sys.modules.get("mlflow")
    active = mlflow.active_run() if mlflow is not None else None
    return str(active.info.run_id) if active else _parent_of_process(_PARENT)


def uri_of_driver() -> str | None:
    """The server that MLflow uses in this process; None if that is not decided here."""
    if "mlflow" in sys.modules:
        return absolute_uri(sys.modules["mlflow"].get_tracking_uri(), os.getcwd())
    return os.environ.get(_URI)


def _parent_of_process(variable: str) -> str | None:
    """The run to nest in: what this variable says, else the job's run."""
    values = (os.environ.get(name) for name in (variable, *_JOB_RUNS))
    return next((value for value in values if value), None)


def _check_installed(user: str) -> None:
    if "mlflow" not in sys.modules and importlib.util.find_spec("mlflow") is None:
        raise MissingDependencyError(
            f'{user} needs MLflow, which is not installed: pip install "tuner[mlflow]"'
        )


def _check(where: str, name: str, value: object, kind: Any) -> None:
    if value is not None and not isinstance(value, kind):
        wanted = "a dictionary" if kind is dict else "a string"
        raise ConfigError(f"{where}: {name}={shorten(value)} must be {wanted}")
