"""What can be said of a journal without taking its facts in."""

from __future__ import annotations

import os

from tuner.errors import JournalError
from tuner.experiment import journal_format
from tuner.experiment.journal_segments import (
    Position,
    damaged,
    missing,
    segment_numbers,
    segment_path,
)
from tuner.layout import JOURNAL_FOLDER


def check(experiment_path: str, until: Position) -> None:
    """Checks that all lines before a position are there and undamaged, without taking them in.

    Raises:
        JournalError: A line is damaged, or something is missing.
    """
    folder = os.path.join(experiment_path, JOURNAL_FOLDER)
    seq = 0
    for number in range(1, until.segment + 1):
        path = segment_path(folder, number)
        try:
            with open(path, "rb") as file:
                content = file.read(until.offset if number == until.segment else -1)
        except FileNotFoundError:
            raise missing(path) from None
        lines = content.split(b"\n")
        for line, text in enumerate(lines[:-1], start=1):
            if not journal_format.is_intact(text):
                raise damaged(path, line, journal_format.DAMAGED)
        seq += len(lines) - 1
        if lines[-1] and number < until.segment:
            raise damaged(path, len(lines), "is torn")
    if seq != until.seq:
        raise damaged(path, len(lines), f"the facts {seq + 1} to {until.seq} are missing")


def last_seq(experiment_path: str) -> int:
    """The number of the last fact that is written, 0 without one.

    Raises:
        JournalError: Its line is damaged.
    """
    folder = os.path.join(experiment_path, JOURNAL_FOLDER)
    for number in reversed(segment_numbers(folder)):
        path = segment_path(folder, number)
        with open(path, "rb") as file:
            *lines, _ = file.read().split(b"\n")
        if lines:
            try:
                return journal_format.decode(lines[-1], unpickle=False)[0]
            except JournalError as error:
                raise damaged(path, len(lines), str(error)) from error
    return 0
