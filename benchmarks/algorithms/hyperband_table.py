"""HyperBand's brackets for R = 81 and eta = 3 beside those of the paper, as a table and a plot.

    python benchmarks/algorithms/hyperband_table.py   # writes hyperband_table.png beside itself

Source: Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization", 2018
(JMLR 18:185), table 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tuner.schedulers import HyperBandScheduler

R, ETA = 81, 3

# For s = 4, 3, 2, 1, 0 the trials n_i and the time r_i of each rung i.
PAPER = [
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    [(27, 3), (9, 9), (3, 27), (1, 81)],
    [(9, 9), (3, 27), (1, 81)],
    [(6, 27), (2, 81)],
    [(5, 81)],
]


def table(brackets: list[list[tuple[int, float]]]) -> str:
    """Our brackets beside the paper's, in Markdown."""
    lines = ["| bracket | paper: n_i / r_i | here: n_i / r_i | equal |", "|---|---|---|---|"]
    for index, (paper, ours) in enumerate(zip(PAPER, brackets, strict=True)):
        equal = "yes" if paper == ours else "NO"
        lines.append(f"| s={len(PAPER) - 1 - index} | {_cells(paper)} | {_cells(ours)} | {equal} |")
    return "\n".join(lines)


def plot(path: Path, brackets: list[list[tuple[int, float]]]) -> None:
    """Draws each bracket's trials against time, the paper's as circles around ours."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.5, 4.5), layout="constrained")
    for index, (paper, ours) in enumerate(zip(PAPER, brackets, strict=True)):
        shift = 1.06**index  # so that equal rungs of several brackets do not cover each other
        color = f"C{index}"
        label = f"s = {len(PAPER) - 1 - index}: {ours[0][0]} trials"
        times, sizes = [r * shift for _, r in ours], [n for n, _ in ours]
        axes.plot(times, sizes, color=color, marker="o", markersize=5, label=label)
        axes.scatter(
            [r * shift for _, r in paper],
            [n for n, _ in paper],
            s=130,
            facecolors="none",
            edgecolors=color,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    times = [r for _, r in PAPER[0]]
    axes.set_xticks(times, [str(r) for r in times])
    axes.set_yticks([1, 3, 9, 27, 81], ["1", "3", "9", "27", "81"])
    axes.minorticks_off()
    axes.set_xlabel("time r_i at which a rung lies (brackets moved apart a little)")
    axes.set_ylabel("trials n_i that train for it")
    axes.set_title(f"HyperBand's brackets, R = {R}, eta = {ETA}: dots ours, circles the paper's")
    axes.legend()
    figure.savefig(path, dpi=130)


def _cells(bracket: list[tuple[int, float]]) -> str:
    return ", ".join(f"{n}/{r:g}" for n, r in bracket)


def main() -> None:
    """Prints the table and draws the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="a folder")
    brackets = HyperBandScheduler.bracket_table(R, ETA)
    print(table(brackets))
    plot(parser.parse_args().out / "hyperband_table.png", brackets)


if __name__ == "__main__":
    main()
