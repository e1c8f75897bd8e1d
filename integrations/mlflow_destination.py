"""An MLflow server as the sender sees it: which runs it has, and what it takes and refuses."""

from __future__ import annotations

import getpass
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from json import JSONDecodeError
from typing import Any
from urllib.parse import urlsplit

from tuner.errors import TunerError
from tuner.filesystems import is_directory, join
from tuner.integrations.mlflow_database import is_of_database, opened_alone
from tuner.integrations.mlflow_runs import (
    ARTIFACTS_TAG,
    DELIVERED_TAG,
    EXPERIMENT_TAG,
    KEY_TAG,
    SENDER_TAG,
    Batch,
    Found,
    Run,
)
from tuner.integrations.mlflow_values import (
    MAX_TAG,
    OLDER_MAX_PARAMS,
    PARENT_RUN_ID,
    clean_keys,
    shortened,
)
from tuner.storage.storage import Storage
from tuner.utf8 import escaped

logger = logging.getLogger(__name__)

_AT_A_TIME = 8  # below the 10 connections that MLflow's client keeps
_PER_PAGE = 1000
_FORBIDDEN = frozenset({401, 403})
_RETRIED = _FORBIDDEN | {408, 429}  # somebody or time may mend it
_SHOWN = 300  # characters of an error


class Unavailable(TunerError):
    """The server does not answer, or cannot answer now; trying again later may help.

    Attributes:
        how: What it does instead, in words.
    """

    how = "does not answer"


class Refused(TunerError):
    """The server will never take this."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where runs go.

    Attributes:
        tracking_uri: The server; None for what the environment says.
        registry_uri: The model registry, None likewise.
        experiment_name: The MLflow experiment; None for what the environment says.
        tags: Tags of every run.
        parent_run_id: The run below which they are, None without one.
        experiment_id: Id of the MLflow experiment, before its name.
        default_name: Name of the MLflow experiment where nothing else says it.
        creates: Whether an MLflow experiment that does not exist is created.
        artifact_location: Where that one keeps its artifacts, None for the server's choice.
    """

    tracking_uri: str | None = None
    registry_uri: str | None = None
    experiment_name: str | None = None
    tags: dict[str, Any] = field(default_factory=dict)
    parent_run_id: str | None = None
    experiment_id: str | None = None
    default_name: str = "Default"
    creates: bool = True
    artifact_location: str | None = None


class Destination:
    """Sends to one MLflow server; every method may raise `Unavailable`.

    Args:
        address: Where runs go.
        known_experiments: Ids of MLflow experiments where runs of an earlier attempt may be.

    Attributes:
        uri: The server.
        requests_at_a_time: How many threads may use this at the same time.
        experiment_id: MLflow's id of the experiment.
        refused: What the server will never take, in words.

    Raises:
        Refused: The experiment can be neither found nor created.
    """

    def __init__(self, address: Address, known_experiments: list[str]) -> None:
        from mlflow.tracking import MlflowClient, get_tracking_uri

        self.refused: list[str] = []
        with classified(), _as_the_job():
            self.uri = str(address.tracking_uri or get_tracking_uri())
            with opened_alone(self.uri):
                self._client = MlflowClient(address.tracking_uri, address.registry_uri)
        is_file = urlsplit(self.uri).scheme in ("", "file", "sqlite")
        self.requests_at_a_time = 1 if is_file else _AT_A_TIME
        self._address = address
        self._parent = address.parent_run_id
        self.experiment_id = self._experiment_id()
        self._known = [each for each in known_experiments if each != self.experiment_id]

    def find(self, experiment: str, sender: str = "") -> dict[str, Found]:
        """The runs that a sender of one of our experiments has made, by their keys."""
        query = f"tags.{EXPERIMENT_TAG} = '{experiment}'"
        ids = [self.experiment_id, *self._known]
        found = {}
        token = None
        while True:
            with classified():
                page = self._client.search_runs(ids, query, max_results=_PER_PAGE, page_token=token)
            for run in page:
                tags = run.data.tags
                if tags.get(SENDER_TAG, sender) != sender:  # older runs do not have it
                    continue
                found[tags[KEY_TAG]] = Found(
                    run_id=run.info.run_id,
                    status=str(run.info.status),
                    delivered=int(tags.get(DELIVERED_TAG, 0)),
                    artifacts=int(tags.get(ARTIFACTS_TAG, 0)),
                )
            token = page.token
            if not token:
                return found

    def create(self, name: str, tags: dict[str, str], start_time: float) -> str:
        """Creates a run, with the tags of all runs and these; returns MLflow's id of it."""
        given = {str(key): str(value) for key, value in self._address.tags.items()}
        keys = clean_keys(given)
        tags = {
            "mlflow.user": _user(),
            **{keys[name]: value for name, value in given.items() if name != PARENT_RUN_ID},
            **tags,
        }
        if self._parent is not None:
            tags[PARENT_RUN_ID] = self._parent
        with classified():
            run = self._client.create_run(
                self.experiment_id,
                start_time=int(start_time * 1000),
                tags={key: shortened(value, MAX_TAG) for key, value in tags.items()},
                run_name=escaped(name),
            )
        return str(run.info.run_id)

    def log(self, run_id: str, batch: Batch) -> None:
        """Has a batch written; what the server refuses of it is noted, and the rest written.

        Raises:
            Refused: The run does not exist any more.
        """
        from mlflow.entities import Metric, Param, RunTag

        points = [Metric(key, value, time, step) for _, key, value, time, step in batch.points]
        params = [Param(key, value) for key, value in batch.params.items()]
        tags = [RunTag(key, value) for key, value in batch.tags.items()]
        try:
            with classified():
                self._client.log_batch(run_id, metrics=points, params=params, tags=tags)
        except Refused as error:
            self._check_exists(run_id)
            if len(batch) > 1:
                for half in batch.halves():
                    self.log(run_id, half)
            elif not self._log_shortened(run_id, batch):
                names = [*(key for _, key, *_ in batch.points), *batch.params, *batch.tags]
                self.refused.append(f"{names[0]!r} of run {run_id}: {error}")

    def params(self, run_id: str) -> dict[str, str]:
        """The parameters that a run has."""
        with classified():
            return dict(self._client.get_run(run_id).data.params)

    def set_status(self, run_id: str, status: str, end_time: float) -> None:
        """Sets the status of a run.

        Raises:
            Refused: The run does not exist any more.
        """
        with classified():
            if status == "RUNNING":
                self._client.update_run(run_id, status=status)
            else:
                self._client.set_terminated(run_id, status, end_time=int(end_time * 1000))

    def log_texts(self, run_id: str, texts: dict[str, str]) -> None:
        """Has texts written as the artifact `params.json`."""
        with classified():
            self._client.log_dict(run_id, texts, "params.json")

    def log_files(
        self, run: Run, on_file: Callable[[int], None], on_success: Callable[[], None]
    ) -> None:
        """Sends the files in a trial's folder, and its checkpoints, that are not settled yet.

        What the server refuses, and what cannot be read, is noted; what was removed is left out.

        Args:
            run: The trial's run.
            on_file: Called before each file with its size in bytes.
            on_success: Called after each file.

        Raises:
            Refused: The run does not exist any more.
        """
        assert run.run_id is not None
        trial = run.trial

        def send(root: str, below: str) -> None:
            for path, name in _files(root, below):
                if name not in run.settled_files:
                    self._log_file(run, path, name, on_file)
                    run.settled_files.add(name)
                    on_success()

        send(trial.path, "")
        if trial.storage is not None and trial.storage.is_shared:
            folder = trial.storage.child(trial.dirname)
            for saved in trial.checkpoints:
                if not os.path.isdir(os.path.join(trial.path, saved.name)):
                    self._with_remote(run, folder, saved.name, send)
        self.log(run.run_id, Batch([], {}, {ARTIFACTS_TAG: str(run.wants_artifacts)}))

    def _with_remote(
        self, run: Run, parent: Storage, name: str, send: Callable[[str, str], None]
    ) -> None:
        """Sends a checkpoint that is on remote storage, unless it was removed there too."""
        with ExitStack() as stack:
            try:
                with classified():
                    if not is_directory(parent.fs, join(parent.path, name)):
                        return
                    folder = stack.enter_context(parent.checkpoint(name).as_directory())
            except Refused as error:
                self.refused.append(f"{name} of {run.trial}: {error}")
                return
            send(folder, name)

    def _log_file(self, run: Run, path: str, name: str, on_file: Callable[[int], None]) -> None:
        assert run.run_id is not None
        try:
            with classified():
                on_file(os.path.getsize(path))
                self._client.log_artifact(run.run_id, path, os.path.dirname(name) or None)
        except Refused as error:
            self._check_exists(run.run_id)
            if os.path.lexists(path):
                self.refused.append(f"{name} of {run.trial}: {error}")

    def _log_shortened(self, run_id: str, batch: Batch) -> bool:
        """Tries a parameter that is too long for an older server; whether it was taken."""
        from mlflow.entities import Param

        for name, text in batch.params.items():
            for limit in OLDER_MAX_PARAMS:
                with suppress(Refused), classified():
                    self._client.log_batch(run_id, params=[Param(name, shortened(text, limit))])
                    return True
        return False

    def _check_exists(self, run_id: str) -> None:
        with classified():
            run = self._client.get_run(run_id)
        if run.info.lifecycle_stage != "active":
            raise Refused(f"run {run_id} was deleted")

    def _experiment_id(self) -> str:
        """The parent's MLflow experiment, as only there runs nest; else the one that was named."""
        address = self._address
        parent = self._parent_experiment_id()
        if parent is not None:
            self._check_same(parent)
            return parent
        if address.experiment_id is not None:
            try:
                self._name_of(address.experiment_id)
                return address.experiment_id
            except Refused:
                if address.experiment_name is None:
                    raise Refused(
                        f"MLflow at {self.uri} has no experiment_id={address.experiment_id!r}: "
                        "give the id of one that it has, or experiment_name"
                    ) from None
        if address.experiment_name is None and os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return os.environ["MLFLOW_EXPERIMENT_ID"]
        in_environment = os.environ.get("MLFLOW_EXPERIMENT_NAME")
        return self._named(address.experiment_name or in_environment or address.default_name)

    def _check_same(self, experiment_id: str) -> None:
        address, name = self._address, self._name_of(experiment_id)
        wanted = None
        if address.experiment_id not in (None, experiment_id):
            wanted = f"experiment_id={address.experiment_id!r}"
        elif address.experiment_id is None and address.experiment_name not in (None, name):
            wanted = f"experiment_name={address.experiment_name!r}"
        if wanted is not None:
            logger.warning(
                "MLflow nests runs in one experiment only: they go to %r, where their parent %s "
                "is, not to %s",
                name,
                address.parent_run_id,
                wanted,
            )

    def _named(self, name: str) -> str:
        """The id of the MLflow experiment of this name, which is created if there is none."""
        with classified():
            experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            return self._new_experiment(name)
        if experiment.lifecycle_stage != "active":
            raise Refused(f"the MLflow experiment {name!r} was deleted; restore it or name another")
        return str(experiment.experiment_id)

    def _new_experiment(self, name: str) -> str:
        if not self._address.creates:
            raise Refused(
                f"MLflow at {self.uri} has no experiment {name!r}: create it, or give "
                "create_experiment_if_not_exists=True"
            )
        try:
            with classified():
                return str(self._client.create_experiment(name, self._address.artifact_location))
        except Refused:
            with classified():  # somebody else may have created it just now
                experiment = self._client.get_experiment_by_name(name)
            if experiment is None:
                raise
            return str(experiment.experiment_id)

    def _parent_experiment_id(self) -> str | None:
        if self._parent is None:
            return None
        try:
            with classified():
                info = self._client.get_run(self._parent).info
        except Refused:
            logger.warning("MLflow at %s has no run %s: no run is nested", self.uri, self._parent)
            self._parent = None
            return None
        if info.lifecycle_stage != "active":
            logger.warning(
                "MLflow at %s: run %s was deleted, below which runs are nested: until it is "
                "restored, they are shown without it",
                self.uri,
                self._parent,
            )
        return str(info.experiment_id)

    def _name_of(self, experiment_id: str) -> str:
        with classified():
            return str(self._client.get_experiment(experiment_id).name)


@contextmanager
def _as_the_job() -> Iterator[None]:
    """Has azureml-mlflow use the job's token, which it does only where this variable is set.

    Trials do not have it, and MLflow removes it when the script starts a run.
    """
    job, given = os.environ.get("AZUREML_RUN_ID"), os.environ.get("MLFLOW_RUN_ID")
    if not job or given:
        yield
        return
    os.environ["MLFLOW_RUN_ID"] = job
    try:
        yield
    finally:
        os.environ.pop("MLFLOW_RUN_ID", None)
        if given is not None:
            os.environ["MLFLOW_RUN_ID"] = given


@contextmanager
def classified() -> Iterator[None]:
    """Turns what MLflow raises into `Unavailable` or `Refused`."""
    try:
        yield
    except (Unavailable, Refused):
        raise
    except Exception as error:
        text = shortened(" ".join(str(error).split()) or type(error).__name__, _SHOWN)
        if _is_final(error):
            raise Refused(text) from error
        unavailable = Unavailable(text)
        if is_of_database(error):
            unavailable.how = "cannot be used"
        if (status := _status(error)) in _FORBIDDEN:
            unavailable.how = f"refuses ({status})"
        raise unavailable from error


def _is_final(error: Exception) -> bool:
    """Whether trying again cannot help."""
    if (status := _status(error)) is not None:
        return 400 <= status < 500 and status not in _RETRIED
    if isinstance(error, JSONDecodeError):  # of an answer, maybe of something before the server
        return False
    ours = TunerError | ImportError | PermissionError | FileNotFoundError | IsADirectoryError
    cannot_be_sent = isinstance(error, ValueError | TypeError | OverflowError)
    return isinstance(error, ours) or (cannot_be_sent and not isinstance(error, OSError))


def _status(error: Exception) -> int | None:
    """The HTTP status of what MLflow raises, None without one."""
    from mlflow.exceptions import MlflowException
    from requests import HTTPError

    if isinstance(error, MlflowException):
        return int(error.get_http_status_code())  # type: ignore[no-untyped-call]
    if isinstance(error, HTTPError) and error.response is not None:  # of the artifact store
        return int(error.response.status_code)
    return None


def _files(root: str, below: str) -> Iterator[tuple[str, str]]:
    """All files below a folder but hidden ones: the whole path, and the name as an artifact."""
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        relative = os.path.relpath(folder, root)
        for name in sorted(files):
            if not name.startswith("."):
                artifact = os.path.normpath(os.path.join(below, relative, name))
                yield os.path.join(folder, name), artifact


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this user id
        return "unknown"
