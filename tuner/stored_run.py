"""What lies in an experiment's folder for a restore: the counterpart of `description`."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
from dataclasses import dataclass
from typing import Any, TypeVar

from tuner.config import RunConfig, TuneConfig
from tuner.description import DISPENSABLE
from tuner.errors import StorageError
from tuner.experiment.folder import FORMAT
from tuner.layout import DESCRIPTION_FILE, JOURNAL_FOLDER, TUNER_FILE
from tuner.search_space.objects import Outline
from tuner.version import __version__

_PARTS = frozenset(
    {"trainable", "param_space", "outline", "tune_config", "run_config", "random_state"}
)

_Config = TypeVar("_Config", TuneConfig, RunConfig)


@dataclass(frozen=True, slots=True)
class StoredRun:
    """The run that an experiment's folder holds.

    Attributes:
        path: The folder.
        trainable_name: What trials are called after.
        seed: From which every random choice derives.
        id_prefix: What every trial id begins with.
        parts: The pickled parts.
    """

    path: str
    trainable_name: str
    seed: int
    id_prefix: str
    parts: dict[str, Any]

    @property
    def trainable(self) -> Any:
        """What was trained.

        Raises:
            StorageError: it was not stored, or cannot be loaded here.
        """
        return self._loaded("trainable", self.parts["trainable"], "Tuner.restore(trainable=…)")

    @property
    def param_space(self) -> dict[str, Any]:
        """The search space.

        Raises:
            StorageError: it cannot be loaded here.
        """
        space: dict[str, Any] = self._loaded(
            "param_space", self.parts["param_space"], "Tuner.restore(param_space=…)"
        )
        return space

    @property
    def outline(self) -> Outline:
        """What is known of the search space, also if it cannot be loaded here."""
        known: Outline = self.parts["outline"]
        return known

    @property
    def tune_config(self) -> TuneConfig:
        """What is searched for, and how.

        Raises:
            StorageError: a part of it was not stored, or cannot be loaded here.
        """
        return self._config(TuneConfig, "tune_config")

    @property
    def run_config(self) -> RunConfig:
        """When trials end, what happens on errors, what is recorded.

        Raises:
            StorageError: a part of it was not stored, or cannot be loaded here.
        """
        return self._config(RunConfig, "run_config")

    @property
    def random_state(self) -> dict[str, Any]:
        """The global streams of random numbers at the start of the run."""
        state: dict[str, Any] = self.parts["random_state"]
        return state

    def _config(self, kind: type[_Config], name: str) -> _Config:
        content = self.parts[name]
        if isinstance(content, bytes):
            config: _Config = self._loaded(name, content)
            return config
        fields = {}
        for field in dataclasses.fields(kind):
            pickled = content.get(field.name)
            if pickled is not None or field.name not in DISPENSABLE:
                fields[field.name] = self._loaded(f"{kind.__name__}({field.name}=…)", pickled)
        return kind(**fields)

    def _loaded(self, what: str, content: bytes | None, instead: str | None = None) -> Any:
        fix = f"; give it again: {instead}" if instead else ""
        if content is None:
            raise StorageError(f"{self.path}: {what} could not be stored when the run began{fix}")
        try:
            return pickle.loads(content)
        except Exception as error:
            raise StorageError(
                f"{self.path}: {what} cannot be loaded here ({type(error).__name__}: {error}); "
                f"make its module importable{fix}"
            ) from error


def has_stored_run(path: str) -> bool:
    """Whether a folder holds what a restore needs."""
    return all(os.path.isfile(os.path.join(path, name)) for name in (DESCRIPTION_FILE, TUNER_FILE))


def load_stored_run(path: str, shown_as: str | None = None) -> StoredRun:
    """Reads what a restore needs; the parts are unpickled when they are asked for.

    Args:
        path: The experiment's folder on this machine.
        shown_as: What the user knows it as, if it is another one.

    Raises:
        StorageError: there is no experiment, or one that this version cannot read.
    """
    shown_as = shown_as or path
    if not has_stored_run(path):
        raise StorageError(
            f"Tuner.restore(path={shown_as!r}): there is no experiment, as there is no "
            f"{DESCRIPTION_FILE} or no {TUNER_FILE}; give the folder <storage_path>/<name> of a "
            "run (its URL, or storage_filesystem, where it is on remote storage)"
        )
    description = _read_description(path)
    parts = _read_parts(path)
    return StoredRun(
        path=shown_as,
        trainable_name=description["trainable"],
        seed=description["seed"],
        id_prefix=description["id_prefix"],
        parts=parts,
    )


def _read_description(path: str) -> dict[str, Any]:
    file = os.path.join(path, DESCRIPTION_FILE)
    try:
        with open(file, encoding="utf-8") as text:
            description = json.load(text)
        written_in, version = int(description["format"]), description["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(file, error) from error
    if written_in > FORMAT:
        raise StorageError(
            f"{path} was written by tuner {version} in format {written_in}, of which this version, "
            f"{__version__}, knows {FORMAT}; restore it with that version or a later one"
        )
    for name, kind in (("trainable", str), ("seed", int), ("id_prefix", str)):
        if not isinstance(description.get(name), kind):
            raise _damaged(file, KeyError(name))
    return dict(description)


def _read_parts(path: str) -> dict[str, Any]:
    name = os.path.join(path, TUNER_FILE)
    try:
        with open(name, "rb") as file:
            parts = pickle.load(file)
        missing = _PARTS - parts.keys()
    except Exception as error:  # pickle raises anything on damage
        raise _damaged(name, error) from error
    if missing:
        raise _damaged(name, KeyError(*sorted(missing)))
    return dict(parts)


def _damaged(file: str, error: Exception) -> StorageError:
    return StorageError(
        f"{file} is damaged ({type(error).__name__}: {error}); put back a copy of it. All results "
        f"are in the folder {JOURNAL_FOLDER}/ beside it, one JSON object per line"
    )
