# Everything sets itself up: a virtual environment in .venv, with versions that were tested together.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	--config-settings editable_mode=compat
PYTEST := $(BIN)/python -m pytest

.PHONY: help demo test check bench lint clean

help:  ## list what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: $(STAMPS)/demo  ## tune a real model on real data and print the best result
	$(BIN)/python examples/quickstart.py

test: $(STAMPS)/test  ## the whole test suite
	$(PYTEST)

check: $(STAMPS)/test lint  ## lint, types and unit tests, in under two minutes
	$(PYTEST) -m "not slow" tests/unit tuner

lint: $(STAMPS)/test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(STAMPS)/test  ## measure beside ray.tune and write the table and the plot
	$(BIN)/python benchmarks/run.py

clean:  ## remove the virtual environment and what tools left behind
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(STAMPS)/demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[demo]'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/test: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[dev,bench]'
	@mkdir -p $(STAMPS) && touch $@ $(STAMPS)/demo
