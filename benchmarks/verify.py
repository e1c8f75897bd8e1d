"""Checks every row of every file that the default loggers wrote."""

from __future__ import annotations

import csv
import json
from pathlib import Path


class FilesAreWrong(Exception):
    """A file of a logger lacks a row, or holds another value than was reported."""


def verify(experiment: str, trials: int, results: int, metrics: int) -> int:
    """Reads `result.json`, `progress.csv` and the TensorBoard events of all trials.

    Returns:
        How many rows were checked.

    Raises:
        FilesAreWrong: something is missing or different.
    """
    folders = [path.parent for path in Path(experiment).glob("*/params.json")]
    if len(folders) != trials:
        raise FilesAreWrong(f"{len(folders)} folders of {trials} trials in {experiment}")
    expected = [[i + k / 16 for k in range(metrics)] for i in range(results)]
    names = [f"m{k}" for k in range(metrics)]
    rows = 0
    for folder in folders:
        for kind, read in (("result.json", read_json), ("progress.csv", read_csv)):
            _compare(read(folder / kind, names), expected, f"{folder}/{kind}")
            rows += results
        for k, name in enumerate(names):
            column = [row[k] for row in expected]
            _compare(read_events(folder, name), column, f"{folder}: TensorBoard {name}")
        rows += results
    return rows


def read_json(path: Path, names: list[str]) -> list[list[float]]:
    with path.open() as file:
        return [[row[name] for name in names] for row in map(json.loads, file)]


def read_csv(path: Path, names: list[str]) -> list[list[float]]:
    with path.open(newline="") as file:
        return [[float(row[name]) for name in names] for row in csv.DictReader(file)]


def read_events(folder: Path, name: str) -> list[float]:
    return _events(str(folder)).get(f"ray/tune/{name}", [])


def _events(folder: str, cache: dict[str, dict[str, list[float]]] = {}) -> dict[str, list[float]]:  # noqa: B006
    """The scalars in a trial's event files; the last folder's are kept."""
    if folder not in cache:
        from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

        scalars: dict[str, list[float]] = {}
        for path in sorted(Path(folder).glob("events.out.tfevents.*")):
            for event in LegacyEventFileLoader(str(path)).Load():
                for value in event.summary.value:
                    if value.HasField("simple_value"):
                        scalars.setdefault(value.tag, []).append(value.simple_value)
        cache.clear()
        cache[folder] = scalars
    return cache[folder]


def _compare(found: list[object], expected: list[object], what: str) -> None:
    if found == expected:
        return
    if len(found) != len(expected):
        raise FilesAreWrong(f"{what}: {len(found)} rows instead of {len(expected)}")
    row = next(
        i for i, (one, other) in enumerate(zip(found, expected, strict=True)) if one != other
    )
    raise FilesAreWrong(f"{what}, row {row}: {found[row]} instead of {expected[row]}")
