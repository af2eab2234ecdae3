# One environment, built once; each target below starts from a fresh clone.
#   make run     environment, then the main job on the bundled data; ends with table and report
#   make test    environment with the development extras, then the tests
#   make docs    environment with Sphinx, then the site
#   make prove   the same environment, then what takes long: kill points, fuzzing, a clean install
# Other Python, other versions:  make run PYTHON=python3.12 CONSTRAINTS=

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
OUT ?= runs/quick
PRESET ?= quick
JOBS ?= 2
ARGS ?=

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
HINT := echo "Installation failed. On a Python other than 3.11 try: make $(MAKECMDGOALS) CONSTRAINTS="

.PHONY: run test prove lint types layers check bench bench-results docs format clean help

help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

run: $(VENV)/.stamp-run ## everything on the bundled data: pre-train, extract, compare, report
	$(BIN)/crystalssl run --preset $(PRESET) --out $(OUT) $(ARGS)

test: $(VENV)/.stamp-dev ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

prove: $(VENV)/.stamp-dev $(VENV)/.stamp-docs ## the long proofs, into benchmarks/results/prove-<date>.json
	$(BIN)/python scripts/prove.py $(ARGS)

lint: $(VENV)/.stamp-dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.stamp-dev ## mypy --strict
	$(BIN)/mypy

layers: $(VENV)/.stamp-dev ## import layers
	$(BIN)/lint-imports

check: lint types layers test ## lint, types, layers and test

bench: $(VENV)/.stamp-dev ## speed of every stage
	$(BIN)/python -m pytest benchmarks --benchmark-only -p no:randomly $(ARGS)

bench-results: $(VENV)/.stamp-dev ## every step beside a peer: benchmarks/results
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/measure.py $(ARGS)

docs: $(VENV)/.stamp-docs ## the site, into docs/_build/html/index.html; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q $(ARGS) docs docs/_build/html

format: $(VENV)/.stamp-dev ## bring the code into ruff's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and the runs
	rm -rf $(VENV) runs

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.stamp-run: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) -e '.[all]' || { $(HINT); exit 1; }
	@touch $@

$(VENV)/.stamp-dev: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) -e '.[dev]' || { $(HINT); exit 1; }
	@touch $@ $(VENV)/.stamp-run

$(VENV)/.stamp-docs: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) -e '.[docs]' || { $(HINT); exit 1; }
	@touch $@ $(VENV)/.stamp-run
