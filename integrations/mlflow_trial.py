"""The MLflow run that a trial holds itself, by `setup_mlflow`."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable
from itertools import islice
from types import ModuleType
from typing import Any

from tuner.errors import TunerError
from tuner.integrations.mlflow_destination import Address, Destination, Unavailable, classified
from tuner.integrations.mlflow_patience import WAIT_VARIABLE, short_requests, wait_s
from tuner.integrations.mlflow_runs import EXPERIMENT_TAG, KEY_TAG, Batch
from tuner.integrations.mlflow_values import (
    MAX_PARAM,
    MAX_PARAMS,
    MAX_TAG,
    absolute_uri,
    clean_key,
    params_of,
    shortened,
)
from tuner.trainable.session import get_context, get_session

logger = logging.getLogger(__name__)

_PAUSE = "PAUSE"
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 5.0
_RETRIES_AT_END = 3


def start_run(address: Address, config: dict[str, Any], run_name: str | None) -> ModuleType:
    """Starts the run of this process, or goes on with the trial's; see `setup_mlflow`.

    Args:
        address: Where it goes.
        config: Its parameters.
        run_name: Its name, the trial's without it.
    """
    import mlflow

    uri = address.tracking_uri or _default_uri(mlflow)
    mlflow.set_tracking_uri(uri)
    if address.registry_uri is not None:
        mlflow.set_registry_uri(address.registry_uri)
    active = mlflow.active_run()
    parent = address.parent_run_id or (active.info.run_id if active else None)
    address = dataclasses.replace(address, tracking_uri=uri, parent_run_id=parent)

    def begin(is_retry: bool) -> None:
        destination = Destination(address, [])
        run_id = _run_id(destination, run_name, is_retry)
        _log_params(destination, run_id, params_of(config))
        with classified():
            mlflow.set_experiment(experiment_id=destination.experiment_id)
            mlflow.start_run(run_id=run_id, nested=active is not None)

    with short_requests(0):
        _patiently(begin, uri)
    session = get_session()
    if session is not None:

        def end(failed: bool) -> None:
            status = "FAILED" if failed else "FINISHED"
            _end(mlflow, active, "RUNNING" if session.decision == _PAUSE else status)

        session.at_end.append(end)
    return mlflow


def _patiently(begin: Callable[[bool], None], uri: str) -> None:
    """Tries until the server answers, for as long as the end of an experiment waits for one."""
    deadline, pause = time.monotonic() + wait_s(), _SHORTEST_PAUSE_S
    is_retry = False
    while True:
        try:
            begin(is_retry)
            return
        except Unavailable as error:
            if time.monotonic() + pause > deadline:
                raise TunerError(
                    f"setup_mlflow: MLflow at {uri} {error.how}, tried for {wait_s():g} s "
                    f"({WAIT_VARIABLE}): {error}"
                ) from error
            if not is_retry:
                logger.warning(
                    "MLflow at %s %s; setup_mlflow tries again for %g s: %s",
                    uri,
                    error.how,
                    wait_s(),
                    error,
                )
        is_retry = True
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _run_id(destination: Destination, name: str | None, is_retry: bool) -> str:
    """The run of an earlier attempt at this trial, else a new one."""
    context = get_context()
    experiment = clean_key(f"{context.get_experiment_name()}/setup_mlflow")
    key = context.get_trial_id()
    if key is None:
        return destination.create(name or "run", {}, time.time())
    if context.attempt > 1 or is_retry:
        found = destination.find(experiment).get(key)
        if found is not None:
            return found.run_id
    trial_name = str(context.get_trial_name())
    tags = {"trial_name": trial_name, "trial_id": key, EXPERIMENT_TAG: experiment, KEY_TAG: key}
    return destination.create(name or trial_name, tags, time.time())


def _log_params(destination: Destination, run_id: str, params: dict[str, str]) -> None:
    """Logs parameters; those that the run has with other values become tags."""
    known = destination.params(run_id)
    tags = {
        clean_key(f"config/{name}"): shortened(text, MAX_TAG)
        for name, text in params.items()
        if name in known and known[name] != shortened(text, MAX_PARAM)
    }
    new = iter([(name, text) for name, text in params.items() if name not in known])
    if tags:
        destination.log(run_id, Batch([], {}, dict(islice(tags.items(), MAX_PARAMS))))
    while some := dict(islice(new, MAX_PARAMS)):
        cut = {name: shortened(text, MAX_PARAM) for name, text in some.items()}
        destination.log(run_id, Batch([], cut, {}))


def _end(mlflow: ModuleType, before: Any, status: str) -> None:
    """Ends all runs that were begun after the one that was active before the trial's."""
    try:
        while (run := mlflow.active_run()) is not None:
            if before is not None and run.info.run_id == before.info.run_id:
                return
            with short_requests(_RETRIES_AT_END):
                mlflow.end_run(status)
    except Exception as error:
        logger.warning("MLflow was not told that the trial's run is %s: %s", status, error)


def _default_uri(mlflow: ModuleType) -> str:
    """What MLflow uses in the driver's working directory, if this is a trial in its own."""
    here = os.getcwd()
    home = os.environ.get("TUNE_ORIG_WORKING_DIR", here)
    try:
        os.chdir(home)
        return absolute_uri(mlflow.get_tracking_uri(), home)
    finally:
        os.chdir(here)
