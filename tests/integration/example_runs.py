"""Scripts of `examples/`, run as a user runs them."""

import re
from pathlib import Path

import pandas

EXAMPLES = Path(__file__).parents[2] / "examples"
TIMEOUT_S = 400


class Run:
    """What a finished example left behind: its output, its folder, its trials by folder."""

    def __init__(self, output, folder):
        self.output = output
        self.folder = folder
        self.trials = {
            path.parent: pandas.read_csv(path) for path in sorted(folder.glob("*/progress.csv"))
        }

    def number(self, pattern):
        """The number that follows `pattern` in the output."""
        found = re.search(pattern + r"\s*(-?[\d.e+-]+)", self.output)
        assert found, f"{pattern!r} is not in:\n{self.output}"
        return float(found[1].rstrip(".,"))
