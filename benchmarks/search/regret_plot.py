"""The plot of `regret.py`: a panel for each library and problem, direct use beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_KINDS = {
    "branin": "Branin",
    "hartmann6": "Hartmann6",
    "conditional": "mixed",
    "flat": "mixed",
    "numbers": "mixed",
}
_COLOURS = {"direct": "#e08a1e", "ours": "#1f5fa8"}


def draw(rows: list[dict[str, Any]], titles: dict[str, str], path: Path) -> None:
    """Draws medians as lines and the middle half of the seeds as areas.

    Args:
        rows: What was measured.
        titles: The libraries' names.
        path: The file to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    libraries = [name for name in titles if any(row["library"] == name for row in rows)]
    kinds = list(dict.fromkeys(_KINDS.values()))
    figure, panels = pyplot.subplots(
        len(kinds),
        len(libraries),
        figsize=(1.9 * len(libraries) + 0.9, 2.1 * len(kinds) + 0.9),
        sharey="row",
        sharex="col",
        layout="constrained",
        squeeze=False,
    )
    for row in rows:
        column = libraries.index(row["library"])
        _panel(panels[kinds.index(_KINDS[row["problem"]])][column], row)
    for panel, name in zip(panels[0], libraries, strict=True):
        panel.set_title(titles[name], fontsize=11, fontweight="bold")
    for of_kind, kind in zip(panels, kinds, strict=True):
        of_kind[0].set_ylabel(f"{kind}\nsimple regret")
    figure.supxlabel("evaluations", fontsize=10)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path, dpi=110)


def _panel(panel: Any, row: dict[str, Any]) -> None:
    numbers = range(1, row["evaluations"] + 1)
    for side, label, width in (
        ("direct", "the library directly", 3.6),
        ("ours", "through our searcher", 1.4),
    ):
        low, median, high = row[side]["quartiles"]
        colour = _COLOURS[side]
        panel.fill_between(numbers, low, high, color=colour, alpha=0.16, linewidth=0)
        panel.plot(numbers, median, color=colour, linewidth=width, label=label)
    num_seeds = len(row["ours"]["final"])
    is_same = row["same"] == num_seeds
    notes = [] if row["problem"] in ("branin", "hartmann6") else [row["problem"]]
    notes.append(f"{num_seeds} seeds, {'all the same' if is_same else 'other draws'}")
    panel.text(
        *(0.04, 0.04, "\n".join(notes)),
        transform=panel.transAxes,
        ha="left",
        va="bottom",
        fontsize=7,
        color="0.35",
    )
    panel.set_yscale("log")
    panel.grid(which="major", color="0.9", linewidth=0.6)
    panel.tick_params(labelsize=8)
    for edge in ("top", "right"):
        panel.spines[edge].set_visible(False)
