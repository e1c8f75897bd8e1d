"""`docs/seeds.md` names each heading and each block of the documents, and each test of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TABLE = TESTS.parents[1] / "docs" / "seeds.md"

# The headings of the documents in their order, each with how many blocks of code it has.
HEADINGS: dict[str, dict[str, int]] = {
    "0.5": {
        "Ray Tune: Hyperparameter Optimization Framework": 0,
        "Getting Started": 0,
        "Quick Start": 5,
        "Trial Schedulers": 1,
        "Handling Large Datasets": 1,
        "HyperOpt Integration": 3,
        "Visualizing Results": 4,
        "Trial Checkpointing": 4,
        "Client API": 3,
    },
    "0.8": {
        "Tune User Guide": 0,
        "Training API": 2,
        "Running Tune": 2,
        "Trial Parallelism": 3,
        "Analyzing Results": 2,
        "Grid Search/Random Search": 1,
        "Custom Trial Names": 1,
        "Sampling Multiple Times": 1,
        "Resource Allocation (Using GPUs)": 0,
        "Advanced Resource Allocation": 2,
        "Trainable (Trial) Checkpointing": 4,
        "Fault Tolerance": 0,
        "Recovering From Failures": 1,
        "Handling Large Datasets": 1,
        "Custom Stopping Criteria": 3,
        "Auto-Filled Results": 1,
        "TensorBoard": 4,
        "Logging": 1,
        "Uploading/Syncing": 2,
        "Debugging": 1,
        "Further Questions or Issues?": 0,
    },
    "Notes": {
        "Ray Tune": 0,
        "Ray": 0,
        "Ray Tune Basics": 0,
        "Tune.run()": 2,
        "Logging": 1,
        "Output log": 0,
        "Trainable": 0,
        "Early stopping with scheduler": 1,
        "Median Stopping Rule": 0,
        "ASHA schedular": 0,
        "Population based training": 0,
        "Search algorithms": 0,
        "Discrete space": 0,
        "Continuous space": 0,
        "Tip:": 1,
        "Others": 1,
    },
    "Sample": {
        "Hyperparameter Tuning with Ray Tune": 0,
        "Overview": 0,
        "Why Population Based Training?": 0,
        "How to Select Hyperparameter Mutations Space?": 2,
        "How to Select the Stopping Criteria?": 1,
        "Instantiating the Tuner": 1,
        "Param Space vs Hyperparameter Mutations": 0,
        "Selecting the Number of CPUs and Workers for Tuning": 0,
        "Further Resources": 0,
    },
}

Row = tuple[str, str, list[tuple[str, str]], str]


def rows(document: str) -> list[Row]:
    """Heading, part, tests as (file, name), and remark of each row of a document's table."""
    section = TABLE.read_text().partition(f"\n## {document}\n")[2].partition("\n## ")[0]
    found = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and cells[0] != "heading":
            heading, part, tests, remark = cells
            links = re.findall(r"\[`(\w+)`\]\(\.\./(tests/[\w/]+\.py)\)", tests)
            found.append((heading, part, [(path, name) for name, path in links], remark))
    return found


def docstrings_of(path: Path) -> dict[str, str]:
    """The tests of a file by name, each with its docstring."""
    body = ast.parse(path.read_text()).body
    functions = [each for each in body if isinstance(each, ast.FunctionDef)]
    return {
        each.name: ast.get_docstring(each) or ""
        for each in functions
        if each.name.startswith("test_")
    }


@pytest.mark.parametrize("document", HEADINGS)
def test_every_heading_and_every_block_has_a_row(document: str) -> None:
    parts: dict[str, list[str]] = {}
    for heading, part, *_ in rows(document):
        parts.setdefault(heading, []).append(part)
    assert list(parts) == list(HEADINGS[document])
    for heading, number in HEADINGS[document].items():
        blocks = [part for part in parts[heading] if part.startswith("block")]
        assert blocks == [f"block {i}" for i in range(1, number + 1)], heading


@pytest.mark.parametrize("document", HEADINGS)
def test_every_row_names_tests_that_exist(document: str) -> None:
    for heading, part, tests, remark in rows(document):
        assert remark
        assert tests or part == "text", f"{heading}, {part}: no test"
        for path, name in tests:
            assert name in docstrings_of(TABLE.parents[1] / path), f"{path} has no {name}"


def test_every_test_is_named_in_the_row_that_its_docstring_says() -> None:
    table = {
        (path, name, document, heading, part)
        for document in HEADINGS
        for heading, part, tests, _ in rows(document)
        for path, name in tests
    }
    for path in sorted(TESTS.glob("test_*.py")):
        if path == Path(__file__):
            continue
        for name, docstring in docstrings_of(path).items():
            document, heading, what = docstring.split(" · ", 2)
            found = re.match(r"block \d+|text|table", what)
            assert found, f"{name}: {docstring}"
            row = (f"tests/seeds/{path.name}", name, document, heading, found[0])
            assert row in table, f"{name} is not named in the row of its docstring"
