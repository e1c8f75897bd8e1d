"""What the callbacks for training libraries have in common: which metrics, when, and the report."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tuner.checkpoint import Checkpoint
from tuner.errors import ConfigError, MissingDependencyError
from tuner.trainable import session
from tuner.validation import did_you_mean, reject, shorten

Metrics = str | Sequence[str] | Mapping[str, str] | None


@contextmanager
def importing(library: str, extra: str) -> Iterator[None]:
    """Says which extra to install if an import in its block fails.

    Raises:
        MissingDependencyError: It failed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingDependencyError(
            f"{library} cannot be imported ({error}): pip install 'tuner[{extra}]'"
        ) from error


class ReportedMetrics:
    """Which of a library's metrics a callback reports, and under which names.

    Args:
        owner: The callback, for errors.
        metrics: A name, several, or the library's names by those to report; None takes all.

    Raises:
        ConfigError: `metrics` is something else.

    Example:
        >>> ReportedMetrics("Callback", {"loss": "val_loss"}).of({"val_loss": 0.5, "lr": 0.1})
        {'loss': 0.5}
    """

    def __init__(self, owner: str, metrics: Metrics) -> None:
        self._owner = owner
        if isinstance(metrics, str):
            metrics = [metrics]
        if not isinstance(metrics, Mapping | list | tuple | None):
            reject(owner, "metrics", metrics, "use a name, a list of names, or {name: library's}")
        names = metrics if isinstance(metrics, Mapping) else {each: each for each in metrics or ()}
        for each in (*names, *names.values()):
            if not isinstance(each, str):
                reject(owner, "metrics", metrics, f"{shorten(each)} is no name")
        self._names = dict(names)

    def of(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """What is reported of the metrics that the library has computed.

        Raises:
            ConfigError: The library has not computed one that is to be reported.
        """
        for name in self._names.values():
            if name not in known:
                there = f"only {shorten(sorted(known), 300)}" if known else "nor any other"
                raise ConfigError(
                    f"{self._owner}: metrics names {name!r}, which was not computed, {there}"
                    f"{did_you_mean(name, known)}"
                )
        return {ours: known[name] for ours, name in self._names.items()} or dict(known)


def checked_events(
    owner: str, field: str, events: str | Sequence[str], hooks: Iterable[str]
) -> tuple[str, ...]:
    """The events at which a callback acts.

    Args:
        owner: The callback, for errors.
        field: Its argument, for errors.
        events: One or several, such as `"epoch_end"` for the library's `on_epoch_end`.
        hooks: The names of the library's hooks.

    Raises:
        ConfigError: The library has no such event.
    """
    known = sorted(each.removeprefix("on_") for each in hooks if each.startswith("on_"))
    chosen = (events,) if isinstance(events, str) else tuple(events)
    for event in chosen:
        if event not in known:
            fix = f"use some of {', '.join(known)}{did_you_mean(str(event), known)}"
            reject(owner, field, events, fix)
    return chosen


def report(
    metrics: dict[str, Any],
    save: Callable[[str], object] | None = None,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Reports a result of the trial.

    Args:
        metrics: The result.
        save: Writes the checkpoint into the directory that it is given; None for no checkpoint.
        metadata: What is stored with the checkpoint.
    """
    if save is None:
        session.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        save(folder)
        checkpoint = Checkpoint.from_directory(folder)
        if metadata is not None:
            checkpoint.set_metadata(metadata)
        session.report(metrics, checkpoint=checkpoint)


@contextmanager
def checkpoint_file(checkpoint: Checkpoint, filename: str) -> Iterator[str]:
    """The local path of a file of a checkpoint.

    Raises:
        ConfigError: The checkpoint has no such file.
    """
    with checkpoint.as_directory() as folder:
        path = os.path.join(folder, filename)
        if not os.path.isfile(path):
            names = sorted(os.listdir(folder))
            raise ConfigError(
                f"{checkpoint} has no file {filename!r}, only {shorten(names)}: give the filename "
                f"that its callback had{did_you_mean(filename, names)}"
            )
        yield path
