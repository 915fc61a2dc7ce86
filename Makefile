# Everything a developer or CI runs. `make help` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.locked
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
LOCKING := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url

.DEFAULT_GOAL := help
.PHONY: help setup demo test soak lint format protos lock bench clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Make .venv from the lock; runs again only when the lock changed

# The lock names versions and hashes only; where packages come from is pip's own configuration.
$(STAMP): requirements.lock pyproject.toml deploy/pip.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "habitus needs Python 3.11 to 3.13; run: make setup PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked packages into $(VENV): two to four minutes, once"
	@# The pip that older Pythons bring (23.2) cannot check hashes where a package asks for an extra of another.
	$(PIP) install --require-hashes --requirement deploy/pip.lock
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## The whole story on a real stack; exits 0 only if every verification held
	$(BIN)/habitus demo

# Two processes, each with servers of its own: half the time of integration tests is waiting.
test: setup  ## All tests, real Kafka, Redis and MLflow included, with coverage (HTML in htmlcov/)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --cov --cov-report=term --cov-report=html

soak: setup  ## The long tests: minutes of kills under load, every guard taken away once
	$(BIN)/python -m pytest --no-cov -m soak --timeout 3600

lint: setup  ## ruff, mypy, import contracts, compose schema, generated protos
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/python protos/compile.py --check

format: setup  ## Format the code and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

protos: setup  ## Generate code from protos/
	$(BIN)/python protos/compile.py

lock:  ## Resolve the locks anew for Python 3.11 to 3.13 (needs uv)
	uv pip compile --upgrade $(LOCKING) --all-extras pyproject.toml --output-file requirements.lock
	echo pip | uv pip compile --upgrade $(LOCKING) - --output-file deploy/pip.lock
	uv pip compile $(LOCKING) --extra build --constraint requirements.lock pyproject.toml --output-file deploy/requirements-runtime.lock

bench: setup  ## Run every benchmark
	@for each in benchmarks/[a-z]*.py; do $(BIN)/python -m benchmarks.$$(basename $$each .py) || exit 1; done

clean:  ## Stop the local stack, delete its state, the environment and what the tools left
	@if [ -x $(BIN)/habitus ]; then $(BIN)/habitus down --purge; fi
	rm -rf $(VENV) .habitus htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
