"""A table drawn with plain characters, as the field's status table looks."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.console.columns import Column, error_columns, fit, shorten_name
from tuner.console.text import clean, display_width, listing
from tuner.experiment.trial import Trial

_GAP = 3
_EDGE = 4


def text_table(columns: list[Column], width: int | None = None) -> list[str]:
    """The lines of a table.

    Args:
        columns: What it holds.
        width: Terminal columns that it may take, None for no limit. Columns that do not fit
            are left out and named below the table.

    Example:
        >>> print("\\n".join(text_table([Column("name", ["a", "b"]), Column("iter", ["3", "12"])])))
        +------+------+
        | name | iter |
        |------+------|
        | a    | 3    |
        | b    | 12   |
        +------+------+
    """
    kept = fit(columns, width, _GAP, _EDGE)
    dashes = ["-" * (column.width + 2) for column in kept]
    border = f"+{'+'.join(dashes)}+"
    cells = [column.lines() for column in kept]
    head, *body = (f"| {' | '.join(row)} |" for row in zip(*cells, strict=True))
    lines = [border, head, f"|{'+'.join(dashes)}|", *body, border]
    note = left_out(columns, kept)
    return [*lines, note] if note else lines


def error_lines(failed: Sequence[Trial], number: int, width: int | None) -> list[str]:
    """The table of failed trials; a list where it does not fit, as paths must stay whole.

    Args:
        failed: The trials to show.
        number: How many failed in all.
        width: Terminal columns that there are, None for no limit.
    """
    table = text_table(error_columns(failed))
    if width is not None and any(display_width(line) > width for line in table):
        table = [f"- {shorten_name(trial)}: {clean(trial.error_file or '')}" for trial in failed]
    more = number - len(failed)
    note = [f"... {more} more not shown"] if more > 0 else []
    return [f"Number of errored trials: {number}", *table, *note]


def left_out(columns: list[Column], kept: list[Column]) -> str:
    """A line about the columns that do not fit, empty if all do."""
    missing = [column.header for column in columns if column not in kept]
    return f"(no room for: {listing(missing)})" if missing else ""
