# Everything runs in .venv, which make creates by itself. On the machine: Python >= 3.11 with pip, and make.
#
#   make demo ARGS="--seed 1"       make test ARGS="-k crossing"       make env PYTHON=python3.12

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env demo test test-all bounds lint types bench notebooks coverage clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(READY) ## create .venv and install evsim into it, editable

$(READY): pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "evsim needs Python 3.11 or newer, but there is no '$(PYTHON)'. Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "evsim needs Python 3.11 or newer; '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1). Name another: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	@echo "installing evsim and its tools into $(VENV)"
	@$(INSTALL) -e ".[dev,events]" || { \
	  echo "That failed. Once more without the extra 'events' (tonic), which needs a C compiler where its parts have no wheel." >&2; \
	  $(INSTALL) -e ".[dev]"; }
	@touch $@

demo: $(READY) ## train a spiking classifier on handwritten digits, about a minute
	$(BIN)/evsim demo $(ARGS)

# Tests run side by side, one process per core; ARGS="-n 0" runs them one after another in this one. They start many
# processes: without the bytecode of evsim, each would compile all of it.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist worksteal

test: $(READY) ## every test that is not slow, on all cores
	$(PYTEST) -m "not slow" $(ARGS)

test-all: $(READY) ## every test, the long statistics too, with more generated cases
	$(PYTEST) --hypothesis-profile=all $(ARGS)

bounds: $(READY) ## every test that is not slow, with each index of each kernel checked
	NUMBA_BOUNDSCHECK=1 $(PYTEST) -m "not slow" $(ARGS)

lint: $(READY) ## ruff
	$(BIN)/ruff check .

types: $(READY) ## mypy
	$(BIN)/mypy

bench: $(READY) ## ns per synaptic event of each driver on this machine
	$(BIN)/evsim bench $(ARGS)

# The notebooks run in a copy of their folder: nothing in the tree changes, outputs included.
notebooks: $(READY) ## execute every notebook, stop at the first error
	@set -e; \
	if [ -n "$$EVSIM_DATA" ]; then EVSIM_DATA=$$(cd "$$EVSIM_DATA" && pwd); export EVSIM_DATA; fi; \
	root=$$(pwd); copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; trap 'exit 130' INT TERM; \
	cp -R notebooks/. "$$copy"; cd "$$copy"; export JUPYTER_PREFER_ENV_PATH=1; ran=0; \
	for book in *.ipynb; do \
	  [ -e "$$book" ] || continue; \
	  echo "executing notebooks/$$book"; \
	  "$$root/$(BIN)/jupyter-execute" --kernel_name=python3 --timeout=600 "$$book"; \
	  ran=$$((ran + 1)); \
	done; \
	echo "notebooks that ran without an error: $$ran"

coverage: $(READY) ## branch coverage, kernels as plain Python so that their lines are seen
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -m "not slow" --cov --cov-report=term-missing:skip-covered $(ARGS)

clean: ## remove .venv, caches and build leftovers; results in runs/ stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache .coverage htmlcov
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
