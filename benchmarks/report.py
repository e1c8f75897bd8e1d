"""The table in `README.md` and the plot, from the figures of a run."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- table begin -->", "<!-- table end -->"


def table(report: dict[str, Any]) -> str:
    """The figures as a Markdown table; the middle of the rounds, and of the ratios of pairs."""
    lines = [
        f"Measured on {report['date']}: {report['machine']}; Python {report['python']}, "
        f"ray {report['ray']}; {report['rounds']} rounds, the two sides in turn.",
        "",
        "| work | unit | ray.tune | tuner | ratio: median (min to max) | goal |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(row) for row in report["rows"]]
    return "\n".join(lines)


def write_table(readme: Path, report: dict[str, Any]) -> None:
    """Puts the table between the markers of the README."""
    text = readme.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    readme.write_text(f"{before}{BEGIN}\n{table(report)}\n{END}{after}")


def plot(path: Path, report: dict[str, Any]) -> None:
    """Draws the ratios as bars on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in report["rows"] if row["ratios"]]
    names = [row["title"].replace("`", "") for row in rows]
    middles = [statistics.median(row["ratios"]) for row in rows]
    low = [m - min(row["ratios"]) for m, row in zip(middles, rows, strict=True)]
    high = [max(row["ratios"]) - m for m, row in zip(middles, rows, strict=True)]
    figure, axes = pyplot.subplots(figsize=(9, 0.55 * len(rows) + 1.4), layout="constrained")
    axes.barh(names, middles, xerr=[low, high], color="#3f7fbf", ecolor="#444444", height=0.6)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="#888888", linewidth=1)
    axes.axvline(10, color="#bbbbbb", linewidth=1, linestyle="--")
    axes.set_xlabel("times better than ray.tune\nmedian of pairs, whiskers: min and max")
    for place, middle in enumerate(middles):
        axes.annotate(
            f"{middle:.3g}×", (1.05, place), va="center", color="white", fontweight="bold"
        )
    figure.savefig(path, dpi=130, bbox_inches="tight")


def _row(row: dict[str, Any]) -> str:
    ratios = row["ratios"]
    ratio = ""
    if ratios:
        middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
        ratio = f"{middle:.3g} ({low:.3g} to {high:.3g})"
    goal = "" if row["goal"] is None else f"{row['goal']:g}"
    return (
        f"| {row['title']} | {row['unit']} | {_figure(row['ray'])} | {_figure(row['tuner'])} "
        f"| {ratio} | {goal} |"
    )


def _figure(values: list[float]) -> str:
    return f"{statistics.median(values):.3g}" if values else ""
