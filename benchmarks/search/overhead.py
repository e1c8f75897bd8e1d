"""What our searchers cost per suggestion beside the library that they ask.

    python benchmarks/search/overhead.py [LIBRARY ...]

A suggestion is `suggest` and the `on_trial_complete` of its trial, one trial at a time, on the
mixed problem. What passes in the library, from each call to its return, is taken off the time of
the very same suggestion; what is left is ours. It is the least of five searches that do the same,
as other work on the machine slows it down. Written is `overhead.md`, with medians over the
suggestions.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from libraries import LIBRARIES, opened
from problems import PROBLEMS

# What our searchers call, as `module:function` or `module:Class.method`.
CALLED = {
    "optuna": [
        "optuna.study:Study.ask",
        "optuna.study:Study.tell",
        "optuna.trial:Trial.suggest_categorical",
        "optuna.trial:Trial.suggest_float",
        "optuna.trial:Trial.suggest_int",
    ],
    "hyperopt": [
        "hyperopt.tpe:suggest",
        "hyperopt.base:Trials.new_trial_ids",
        "hyperopt.base:Trials.refresh",
        "hyperopt.base:Trials.insert_trial_docs",
        "hyperopt.base:Trials.new_trial_docs",
        "hyperopt.base:Domain.new_result",
        "hyperopt.base:spec_from_misc",
    ],
    "nevergrad": [
        "nevergrad.optimization.base:Optimizer.ask",
        "nevergrad.optimization.base:Optimizer.tell",
    ],
    "bohb": [
        "hpbandster.optimizers.config_generators.bohb:BOHB.get_config",
        "hpbandster.optimizers.config_generators.bohb:BOHB.new_result",
    ],
    "zoopt": [
        "zoopt.algos.opt_algorithms.racos.sracos:SRacosTune.tune_init_attribute",
        "zoopt.algos.opt_algorithms.racos.sracos:SRacosTune.sample_solution",
        "zoopt.algos.opt_algorithms.racos.sracos:SRacosTune.distinct_sample",
        "zoopt.algos.opt_algorithms.racos.sracos:SRacosTune.complete",
    ],
    "ax": [
        "ax.api.client:Client.get_next_trials",
        "ax.api.client:Client.complete_trial",
    ],
    "bayesopt": [
        "bayes_opt:BayesianOptimization.register",
        "bayes_opt:BayesianOptimization.suggest",
    ],
}
SUGGESTIONS = {"ax": 10, "bayesopt": 25}
REPEATS = 5
HERE = Path(__file__).parent


class Stopwatch:
    """Counts the time that passes in functions; what they call among themselves counts once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._is_inside = False

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._is_inside:
                return function(*args, **kwargs)
            self._is_inside = True
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - began
                self._is_inside = False

        return timed


def put_around(stopwatch: Stopwatch, names: list[str]) -> None:
    """Has the stopwatch time what is named."""
    for name in names:
        module, _, path = name.partition(":")
        *owners, attribute = path.split(".")
        owner = functools.reduce(getattr, owners, importlib.import_module(module))
        setattr(owner, attribute, stopwatch.around(getattr(owner, attribute)))


def costs(library: str, stopwatch: Stopwatch) -> list[tuple[float, float]]:
    """Milliseconds of each suggestion: ours, and the library's."""
    problem = PROBLEMS[LIBRARIES[library].mixed]
    count = SUGGESTIONS.get(library, 200)
    searcher = opened(library, LIBRARIES[library].mixed, 1, count)
    found = []
    for number in range(count):
        stopwatch.seconds = 0.0
        began = time.perf_counter()
        config = searcher.suggest(f"t{number}")
        suggested = time.perf_counter() - began
        assert isinstance(config, dict)
        result = {"loss": problem.function(config)}
        began = time.perf_counter()
        searcher.on_trial_complete(f"t{number}", result)
        whole = suggested + time.perf_counter() - began
        found.append((1e3 * (whole - stopwatch.seconds), 1e3 * stopwatch.seconds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("libraries", nargs="*", metavar="LIBRARY", default=[*CALLED])
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    lines = [
        "| library | suggestions | our searcher, ms | the library itself, ms |",
        "|---|---|---|---|",
    ]
    for library in parser.parse_args().libraries:
        stopwatch = Stopwatch()
        put_around(stopwatch, CALLED[library])
        searches = [costs(library, stopwatch) for _ in range(REPEATS)]
        least = [map(min, zip(*repeats, strict=True)) for repeats in zip(*searches, strict=True)]
        ours, own = (statistics.median(each) for each in zip(*least, strict=True))
        title = f"{LIBRARIES[library].title} {version(LIBRARIES[library].package)}"
        count = SUGGESTIONS.get(library, 200)
        lines.append(f"| {title} | {count} | {ours:.3f} | {own:.3g} |")
        print(lines[-1], flush=True)
    (HERE / "overhead.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
