# Every command that a person and CI share. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv

.PHONY: help setup demo test faults bench lock proto format clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# A stamp a set of packages: what runs Tessera, and what tests it on top.
$(VENV)/.uv: requirements/uv.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	touch $@

$(VENV)/.run: $(VENV)/.uv requirements/run.txt pyproject.toml libs/contracts/pyproject.toml
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/run.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e libs/contracts -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	touch $@

setup: $(VENV)/.run ## Set up .venv with everything that runs

demo: $(VENV)/.run ## Run the main job on the sample shop: everything embedded, nothing to install
	$(BIN)/tessera demo $(ARGS)

test: $(VENV)/.dev ## Run every check and every test
	$(BIN)/python -m tests.run $(ARGS)

faults: $(VENV)/.dev ## Kill, stop, cut off and fill up everything under load; about 40 minutes
	$(BIN)/python -m tests.faults $(ARGS)

bench: $(VENV)/.dev ## Run the benchmarks and print a table
	$(BIN)/python -m bench $(ARGS)

proto: $(VENV)/.dev ## Generate libs/contracts from protos/
	$(BIN)/python protos/generate.py

format: $(VENV)/.dev ## Format the code and the contracts
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .
	$(BIN)/buf format -w protos

lock: $(VENV)/.uv ## Resolve the requirements anew
	UV=$(UV) requirements/lock.sh

clean: ## Remove what was installed and what ran
	rm -rf $(VENV) .tessera
