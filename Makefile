# make train   from nothing but Python >= 3.11: build .venv, install, train on chain-scm
# make test    the same set-up, then the default test suite
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
SITE ?= build/site
BIN := $(VENV)/bin
# Networks of this size are fastest on one thread, and pytest runs one process per core.
export OMP_NUM_THREADS ?= 1

.PHONY: train test test-slow test-all docs lint check clean

train: $(VENV)/.installed
	$(BIN)/python scripts/train_agent.py --env chain-scm $(ARGS)

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n auto $(ARGS)

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -n auto -m slow $(ARGS)

test-all: test test-slow

# Warnings are errors: a link that leads nowhere stops the build.
docs: $(VENV)/.installed
	$(BIN)/python -m sphinx -q -W --keep-going -c docs -b html . $(SITE)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python >= 3.11 is needed; name one with: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
