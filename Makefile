# Needs Python 3.11 or newer and make. Everything else comes from the locked, hashed requirements into .venv.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
LOCKS := deploy/requirements
ARGS ?=
SEED ?= 1
RUNS ?= 1000
MINUTES ?= 2

# Whoever writes a generated file takes --check to compare instead; `make docs` and `make check` run them all.
GENERATORS := schemas.generate worker.docs deploy.topics.generate

.PHONY: help run test check fmt docs bench chaos sim explore mutants lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.sandbox ## Sandbox: real Kafka, simulated Walmart, worker, sample traffic (ARGS="--once")
	@$(BIN)/order-sync sandbox $(ARGS)

test: $(VENV)/.dev ## Run the tests (ARGS="-k name")
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev ## Lint, format, types, import rules, drift of generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@for module in $(GENERATORS); do $(BIN)/python -m $$module --check; done

fmt: $(VENV)/.dev ## Format, and fix what can be fixed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(VENV)/.dev ## Regenerate the generated files
	@for module in $(GENERATORS); do $(BIN)/python -m $$module; done

bench: $(VENV)/.dev ## Measure, side by side with others (ARGS="--help")
	@$(BIN)/python -m tests.bench $(ARGS)

chaos: $(VENV)/.dev ## Kill everything under load, then count (SEED=1 MINUTES=2 ARGS="--help")
	@$(BIN)/python -m tests.chaos --seed $(SEED) --minutes $(MINUTES) $(ARGS)

sim: $(VENV)/.dev ## Simulate fault schedules (SEED=1 RUNS=1000; one failing seed: RUNS=1)
	@$(BIN)/python -m tests.sim --seed $(SEED) --runs $(RUNS) $(ARGS)

explore: $(VENV)/.dev ## Every interleaving in the small (ARGS="--scenario box --faults 1")
	@$(BIN)/python -m tests.explore $(ARGS)

mutants: $(VENV)/.dev ## Put in deliberate bugs, one at a time: who catches them? (ARGS="--only NAME")
	@$(BIN)/python -m tests.mutants $(ARGS)

lock: $(VENV)/.dev ## Renew the locks (ARGS="--upgrade", or "--upgrade-package NAME")
	@$(call compile,runtime,pyproject.toml)
	@$(call compile,sandbox,pyproject.toml --extra sandbox --group build -c $(LOCKS)/runtime.txt)
	@$(call compile,dev,pyproject.toml --extra sandbox --group build --group dev -c $(LOCKS)/sandbox.txt)
	@$(call compile,build,--group pyproject.toml:build -c $(LOCKS)/sandbox.txt)
	@$(call compile,installer,--group pyproject.toml:installer)
	@$(call compile,peers,--group pyproject.toml:peers -c $(LOCKS)/runtime.txt)
	@$(BIN)/python -m worker.sandbox.kafka_jars

clean: ## Remove .venv, caches and build results (the Kafka cache under ~/.cache/order-sync stays)
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache bench-out
	@find schemas worker tests deploy -name __pycache__ -type d -prune -exec rm -rf {} +

# No index is named in a lock: whoever installs uses the registry that their machine is set up for.
define compile
$(BIN)/uv pip compile $(2) -o $(LOCKS)/$(1).txt --quiet $(ARGS) --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header
endef

# A stamp is older than its lock when the lock has changed: then everything is brought up to date.
$(VENV)/.sandbox: $(LOCKS)/sandbox.txt $(VENV)/.installer pyproject.toml
	$(call install,sandbox)

$(VENV)/.dev: $(LOCKS)/dev.txt $(VENV)/.installer pyproject.toml
	$(call install,dev)
	@touch $(VENV)/.sandbox

define install
@echo "installing the locked requirements ($(1))"
@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r $(LOCKS)/$(1).txt
@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
@touch $@
endef

$(VENV)/.installer: $(LOCKS)/installer.txt
	@"$(PYTHON)" -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=...") if sys.version_info < (3, 11) else 0'
	@"$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
