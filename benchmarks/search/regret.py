"""What the search libraries find, used directly and through our searchers.

    python benchmarks/search/regret.py [LIBRARY ...] [--processes N]

Each is run on each problem with many seeds, both ways, with the library's default settings. The
simple regret after an evaluation is how far the best value so far is from the minimum. Written are
`regret.jsonl` (of the libraries named; others stay as they were), `regret.md` and `regret.png`.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from libraries import LIBRARIES, Run, directly, through_ours
from problems import PROBLEMS
from regret_plot import draw

HERE = Path(__file__).parent
RECORD = HERE / "regret.jsonl"
SIDES = ("direct", "ours")
SMALLEST = 1e-6
"""Regrets below it count as this one where logarithms are taken."""

Row = dict[str, Any]
"""What is recorded of one library on one problem."""


def both(library: str, problem: str, seed: int, evaluations: int) -> tuple[Run, Run]:
    """The same search directly and through ours."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    arguments = (library, problem, seed, evaluations)
    return directly(*arguments), through_ours(*arguments)


def measure(library: str, problem: str, pool: ProcessPoolExecutor) -> Row:
    """Searches with all seeds, both ways."""
    chosen = LIBRARIES[library]
    seeds = range(1, chosen.seeds + 1)
    jobs = [pool.submit(both, library, problem, seed, chosen.evaluations) for seed in seeds]
    values = [[run[1] for run in job.result()] for job in jobs]
    row: Row = {
        "library": library,
        "version": version(chosen.package),
        "problem": problem,
        "evaluations": chosen.evaluations,
        "same": sum(are_same(*pair) for pair in values),
    }
    for side, of_side in zip(SIDES, zip(*values, strict=True), strict=True):
        regrets = np.minimum.accumulate(of_side, axis=1) - PROBLEMS[problem].least
        quartiles = np.quantile(regrets, [0.25, 0.5, 0.75], axis=0)
        row[side] = {"final": rounded(regrets[:, -1]), "quartiles": [*map(rounded, quartiles)]}
    return row


def are_same(first: list[float], second: list[float]) -> bool:
    """Whether two sequences of values are the same but for the last digits."""
    return bool(np.allclose(first, second, rtol=1e-9, atol=1e-12))


def rounded(numbers: Any) -> list[float]:
    """As many digits as the plot and the table need."""
    return [float(f"{number:.4g}") for number in numbers]


def p_value(direct: list[float], ours: list[float]) -> float:
    """Of the Mann-Whitney test that neither way tends to greater regrets than the other."""
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(direct, ours).pvalue)


def difference(direct: list[float], ours: list[float]) -> tuple[float, float]:
    """By how many powers of ten our regrets are greater in the mean: 95 % bounds, by bootstrap."""
    rng = np.random.default_rng(0)
    means = [
        rng.choice(np.log10(np.maximum(side, SMALLEST)), (10_000, len(side))).mean(axis=1)
        for side in (direct, ours)
    ]
    low, high = np.quantile(means[1] - means[0], [0.025, 0.975])
    return float(low), float(high)


def table(rows: list[Row]) -> str:
    """The regrets at the end, in Markdown."""
    lines = [
        "| library | problem | evaluations | regret, directly | through ours "
        "| same tries | ours greater by powers of ten, 95 % | p |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        direct, ours = (row[side]["final"] for side in SIDES)
        low, high = difference(direct, ours)
        differs = row["same"] < len(ours)
        compared = f"{low:+.2f} to {high:+.2f} | {p_value(direct, ours):.2f}" if differs else "0 | "
        lines.append(
            f"| {LIBRARIES[row['library']].title} {row['version']} | {row['problem']} "
            f"| {row['evaluations']} | {summary(direct)} | {summary(ours)} "
            f"| {row['same']} of {len(ours)} | {compared} |"
        )
    return "\n".join(lines)


def summary(finals: list[float]) -> str:
    """Median and quartiles."""
    low, median, high = np.quantile(finals, [0.25, 0.5, 0.75])
    return f"{median:.2g} ({low:.2g} to {high:.2g})"


def recorded() -> list[Row]:
    """What was measured before."""
    return [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("libraries", nargs="*", metavar="LIBRARY", default=[*LIBRARIES])
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    rows: list[Row] = []
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        for library in arguments.libraries:
            for problem in LIBRARIES[library].problems:
                rows.append(measure(library, problem, pool))
                print(table(rows[-1:]).splitlines()[-1], flush=True)
    rows += [row for row in recorded() if row["library"] not in arguments.libraries]
    rows.sort(key=lambda row: [*LIBRARIES].index(row["library"]))
    RECORD.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (HERE / "regret.md").write_text(table(rows) + "\n")
    draw(rows, {name: library.title for name, library in LIBRARIES.items()}, HERE / "regret.png")


if __name__ == "__main__":
    main()
