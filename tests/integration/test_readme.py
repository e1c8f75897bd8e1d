"""The README's example runs as it stands there, and says what is printed there."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_example_prints_what_the_readme_says(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```.*?```\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 1
    code, printed = blocks[0]
    script = tmp_path / "regression.py"
    script.write_text(code)
    output = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "TUNER_RESULTS_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    ).stdout

    assert _configurations(output) == _configurations(printed)
    assert output.splitlines()[0].startswith("regression: 8 trials, AsyncHyperBand")
    assert 0.99 < _best_loss(output) / _best_loss(printed) < 1.01


def _configurations(output: str) -> dict[str, tuple[float, float]]:
    """Learning rate and decay of each row of the table, by the trial's number."""
    row = re.compile(r"^\| train_\w+_(\d+) .*?:\d+ \| +([\d.]+) +\| +([\d.]+) +\|", re.MULTILINE)
    return {number: (float(lr), float(decay)) for number, lr, decay in row.findall(output)}


def _best_loss(output: str) -> float:
    config, loss = re.fullmatch(r"best: (\{.*\}) ([\d.]+)", output.splitlines()[-1]).groups()
    assert set(ast.literal_eval(config)) == {"lr", "decay"}
    return float(loss)
