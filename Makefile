# Everything here works on a fresh machine: the environment is made when it is missing.
PYTHON ?= python3
BIN = .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo test slow lint lock

demo: .venv/demo.done
	$(BIN)/python examples/demo.py

test: .venv/dev.done
	$(BIN)/pytest -n 2

slow: .venv/dev.done
	$(BIN)/pytest -m "slow and not weights and not gpu"

lint: .venv/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.done: setup.cfg requirements.lock | .venv/bin/python
	$(BIN)/pip install --quiet --constraint requirements.lock --editable .
	touch $@

.venv/dev.done: setup.cfg requirements.lock | .venv/bin/python
	$(BIN)/pip install --quiet --constraint requirements.lock --editable ".[dev]"
	touch $@ .venv/demo.done

# The versions that were tested. Only this file pins: setup.cfg has lower bounds, so that the package fits in beside others.
lock: .venv/dev.done
	$(BIN)/pip freeze --exclude-editable --exclude setuptools > requirements.lock
