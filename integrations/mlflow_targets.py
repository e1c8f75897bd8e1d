"""Where the callbacks of an experiment send to, as far as the driver knows it without asking."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tuner.callbacks.callback import Callback
from tuner.integrations.mlflow import MLflowLoggerCallback, surrounding_run, uri_of_driver
from tuner.integrations.mlflow_values import PARENT_RUN_ID, absolute_uri
from tuner.validation import check_distinct


def check_targets(callbacks: Sequence[Callback], default_name: str) -> None:
    """Refuses two callbacks that send to the same, where every trial would have two runs.

    Args:
        callbacks: Those of the experiment.
        default_name: Name of the MLflow experiment where nothing else says it.

    Raises:
        ConfigError: Two of them do.
    """
    ours = [each for each in callbacks if isinstance(each, MLflowLoggerCallback)]
    check_distinct("RunConfig", callbacks, [_target(each, default_name) for each in ours])


def _target(callback: MLflowLoggerCallback, default_name: str) -> str:
    """The MLflow experiment and the server, in words."""
    uri = callback.tracking_uri or uri_of_driver() or os.environ.get("MLFLOW_TRACKING_URI")
    where = absolute_uri(uri, os.getcwd()).rstrip("/") if uri else "the default server"
    return f"the MLflow experiment {_experiment(callback, default_name)} at {where}"


def _experiment(callback: MLflowLoggerCallback, default_name: str) -> str:
    """The order is that of `Destination`."""
    parent = callback.tags.get(PARENT_RUN_ID) or surrounding_run()
    if parent:
        return f"of the parent run {parent}"
    given, environ = callback.experiment_name, os.environ
    if given is None and environ.get("MLFLOW_EXPERIMENT_ID"):
        return f"with the id {environ['MLFLOW_EXPERIMENT_ID']}"
    return repr(given or environ.get("MLFLOW_EXPERIMENT_NAME") or default_name)
