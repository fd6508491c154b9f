# Everything a clone needs: `make quickstart` answers the first question, `make test` runs every check.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv

# Tests and load tests start hundreds of processes; without bytecode each would compile the code anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

quickstart: $(VENV)/run.done  ## a load test against real Airflow on this machine, and its answer
	@$(BIN)/headroom run scenarios/quickstart.toml

test: $(VENV)/dev.done  ## all checks and tests, real Airflow included
	@$(BIN)/python tests/everything.py

test-versions: $(VENV)/dev.done  ## the versions of Airflow that `make test` leaves out
	$(BIN)/pytest -m versions tests/local/airflow

test-fast: $(VENV)/dev.done  ## the tests that take seconds
	$(BIN)/pytest -m 'not slow and not airflow' -n 2

format: $(VENV)/dev.done  ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: $(VENV)/run.done  ## write docs/reference.md and docs/schemas from the code
	@$(BIN)/python docs/make_reference.py

requirements: $(VENV)/run.done  ## compile the pinned requirement files anew
	@for source in requirements/bootstrap.in requirements/run.in requirements/dev.in \
	        harness/local/airflow/requirements/*.in tests/local/clients/*.in; do \
	    $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	        --no-emit-index-url --no-emit-find-links --no-header $$(grep '^# uv ' $$source | cut -d ' ' -f 3-) \
	        $$source --output-file $${source%.in}.txt || exit 1; \
	done

$(VENV)/bootstrap.done: requirements/bootstrap.txt
	@echo "Making the virtual environment in $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "headroom needs Python 3.11 or newer: call make with PYTHON=python3.11 (or newer)."; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements/bootstrap.txt
	@touch $@

$(VENV)/run.done: $(VENV)/bootstrap.done requirements/run.txt pyproject.toml
	@echo "Installing the pinned dependencies ..."
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements/run.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.done: $(VENV)/run.done requirements/dev.txt
	@echo "Installing the test tools ..."
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements/dev.txt
	@touch $@

.PHONY: help quickstart test test-versions test-fast format reference requirements
