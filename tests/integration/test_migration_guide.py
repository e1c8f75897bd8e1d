"""docs/guide/migration.md: its import lines work, and its code runs as it stands there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from fit_helpers import run_script

import tuner as tune
from tuner.legacy.experiment import EXPERIMENT_ARGUMENTS

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "migration.md").read_text()
IMPORTS = re.findall(r"\| `((?:from tuner|import tuner)[^`…]*)`", GUIDE)


def code() -> list[str]:
    return re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def test_there_are_as_many_blocks_and_lines_as_are_tested() -> None:
    table = GUIDE.partition("## Import lines")[2].partition("\n## ")[0]
    assert len(IMPORTS) == len(re.findall(r"^\| `", table, re.MULTILINE)) > 25
    assert len(code()) == 5


@pytest.mark.parametrize("line", IMPORTS)
def test_import_line(line: str) -> None:
    if "integrations." in line:
        pytest.importorskip(line.split("integrations.")[1].split()[0])
    exec(line, {})


def test_the_three_scripts_do_the_same(tmp_path: Path) -> None:
    outputs = []
    for number, text in enumerate(code()[:3]):
        folder = tmp_path / str(number)
        folder.mkdir()
        outputs.append(run_script(text, folder).splitlines()[-1])
        assert len(list(folder.glob("my_experiment/*/result.json"))) == 3
    assert outputs == ["best: {'lr': 0.5} 5"] * 3


def test_both_classes_do_the_same(tmp_path: Path) -> None:
    lines = run_script(code()[3], tmp_path).splitlines()
    assert [line for line in lines if re.match("(Before|Today) ", line)] == [
        "Before 6.0 2",
        "Today 6.0 2",
    ]


def test_a_checkpoint_is_handed_over(tmp_path: Path) -> None:
    assert run_script(code()[4], tmp_path).splitlines()[-1] == "counted to 8"


def test_every_older_name_is_in_a_table() -> None:
    rows = "".join(line for line in GUIDE.splitlines(keepends=True) if line.startswith("| "))
    older = {name for names in tune._OLD_MODULES.values() for name in names}
    assert len(older) > 5
    assert {name for name in older if not re.search(rf"\b{name}\b", rows)} == set()


def test_every_argument_of_run_is_in_the_table() -> None:
    table = GUIDE.partition("## `tune.run` and")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| ")]
    named = {name for row in rows for name in re.findall(r"[`(, ]\"?([a-z_]+)\b", row)}
    known = {*inspect.signature(tune.run).parameters, *EXPERIMENT_ARGUMENTS}
    known |= set(inspect.signature(tune.run_experiments).parameters)
    today = {"storage_path", "storage_filesystem", "sync_config", "checkpoint_config"}
    today |= {"resume_config", "server", "concurrent", "experiments"}
    assert known - today <= named
