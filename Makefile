# Everything starts here: `make demo`, `make test`, `make help`.
# Needed: Python 3.11 or newer with venv, make, a C library. The rest is set up in .venv,
# from hash-pinned files; a second call does no set-up work.

# Without byte code every process compiles every import again (12 s instead of 2 s).
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
STAMP := $(VENV)/.stamp
LOCKS := requirements.lock requirements-bootstrap.lock
COMPILE := $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url \
	--no-header --no-annotate

DEMO := scenarios/runaway-capacity-removal.yaml
# Processes for the tests: one per core, but no more than eight.
JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); [ $$n -gt 8 ] && n=8; echo $$n)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint verify swarm bench bench-peers lock clean

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

setup: $(STAMP) ## build the environment in .venv

$(STAMP): pyproject.toml $(LOCKS)
	@command -v "$(PYTHON)" >/dev/null || { echo "error: '$(PYTHON)' not found; install Python 3.11 or newer, or say 'make PYTHON=/path/to/python3'" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1); Python 3.11 or newer is needed: 'make PYTHON=/path/to/python3.11'" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "error: '$(PYTHON)' has no venv module; install it (Debian: apt-get install python3-venv) or choose another Python with 'make PYTHON=...'" >&2; exit 1; }
	@echo "setting up $(VENV) (about half a minute, once)"
	@$(PY) -c '' 2>/dev/null || "$(PYTHON)" -m venv --clear $(VENV)
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements-bootstrap.lock
	@$(BIN)/uv pip install -q --python $(PY) --require-hashes -r requirements.lock
	@$(BIN)/uv pip install -q --python $(PY) --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## simulate the region that loses its capacity; results in runs/
	$(BIN)/simulator run $(DEMO) --seed 1

lint: $(STAMP) ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint ## lint, then the test suite but for what is marked slow
	$(PY) -m pytest -q -n $(JOBS) --dist loadfile

verify: $(STAMP) ## theory, row by row with its deliberate errors; claims over many seeds (long)
	$(BIN)/simulator verify --mutants --jobs $(JOBS)
	$(PY) -m pytest -q -n $(JOBS) tests/validation tests/property -m slow

swarm: $(STAMP) ## random regions, mechanisms and faults with all guards on (MINUTES=5)
	$(PY) -m tests.swarm --minutes $(or $(MINUTES),5)

bench: $(STAMP) ## measure speed
	$(PY) benchmarks/kernel.py
	$(PY) benchmarks/seed_story.py

bench-peers: $(STAMP) ## compare speed with other programs (about ten minutes)
	$(PY) benchmarks/peers/run.py

lock: $(STAMP) ## renew the pinned versions
	$(COMPILE) --upgrade --extra test pyproject.toml -o requirements.lock
	$(COMPILE) --upgrade --group bootstrap -o requirements-bootstrap.lock

clean: ## remove the environment and the caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
