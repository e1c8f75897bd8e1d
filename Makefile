# Each target makes what it needs by itself: .venv is created when it is missing, and refreshed
# when pyproject.toml or constraints.txt is newer than its stamp.

# The first Python that is new enough; `make PYTHON=… <target>` takes another one.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

BIN := .venv/bin
# The compatible editable mode is a plain path entry; the default one slows every interpreter start.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt --config-settings editable_mode=compat

# Tests of one file run in one process; files run in their order, as the first ones take longest.
# A process that crashes ends the run: pytest-xdist would wait for ever for what it had not run.
PYTEST := $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder \
	--max-worker-restart 0

# The Azure-compatible server of the tests; those that need it skip where it is not installed.
AZURITE := 3.37.0

.DEFAULT_GOAL := help
.PHONY: help demo test check bench chaos lint setup azurite clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s%s\n", $$1, $$2}' Makefile

demo: .venv/demo.stamp ## Tune a network on handwritten digits (the first time also installs)
	@$(BIN)/python examples/quickstart.py

test: setup ## Run all tests, and the examples in the docstrings
	@$(PYTEST)

check: lint ## Lint, types and the quick tests, in less than two minutes
	@$(PYTEST) tests/unit tuner -m "not slow"

lint: setup ## Lint and types alone
	@$(BIN)/python -m ruff check
	@$(BIN)/python -m ruff format --check
	@$(BIN)/python -m mypy

bench: setup ## Measure this library beside ray.tune; writes table and plot in benchmarks/
	@$(BIN)/python benchmarks/run.py

chaos: setup ## Kill experiments by the hundred; renews the table in docs/guide/durability.md
	@PYTHONPATH=tests $(BIN)/python tests/chaos/measure_kills.py

setup: .venv/dev.stamp ## Install everything that development needs into .venv

azurite: .venv/azurite-$(AZURITE).stamp ## Install a server into .venv that some tests need (needs npm)

clean: ## Remove what builds, tests and linters left; .venv stays
	@rm -rf build dist tuner.egg-info benchmarks/out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name .venv -prune -o -type d -name __pycache__ -exec rm -rf {} +

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# Files are the stamps' prerequisites; the interpreter only has to exist.
.venv/demo.stamp: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing the library and scikit-learn into .venv"
	@$(INSTALL) --editable '.[demo]'
	@touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing the library and its development tools into .venv; this can take minutes"
	@$(INSTALL) --editable '.[dev,bench]'
	@$(INSTALL) --editable '.[bohb]' 2>.venv/bohb.log || echo "hpbandster is not installed, so its \
	tests are skipped; it needs a C compiler and Python's headers: see .venv/bohb.log" >&2
	@touch .venv/demo.stamp $@

.venv/azurite-$(AZURITE).stamp: | .venv/bin/python
	@command -v npm >/dev/null || { echo "npm is not installed (Debian: nodejs and npm)" >&2; exit 1; }
	@echo "Installing azurite into .venv"
	@npm install --silent --no-audit --no-fund --global --prefix .venv azurite@$(AZURITE)
	@touch $@
