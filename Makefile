# Each target makes the virtual environment that it needs, once. A second run needs no network.
#
#   PYTHON=python3.12       which Python makes it (3.11 or newer)
#   TORCH_INDEX=URL         where another build of torch is found, e.g. https://download.pytorch.org/whl/cpu
#   JOBS=4                  processes of the tests

PYTHON ?= python3
# One more than two cores: tests of streams, servers and browsers wait a third of their time.
JOBS ?= 3
TORCH_INDEX ?=

BIN := .venv/bin
# Named after the content of what it was made from, not after its date: a checkout that changes nothing installs nothing.
STAMP := .venv/.installed-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-lowest lint bench bench-accept clean

help:
	@echo "make install | demo | test | test-lowest | lint | bench | bench-accept | clean"

install: $(STAMP)

$(STAMP):
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(f"need Python 3.11 or newer, got {v[0]}.{v[1]}: set PYTHON=..." if v < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --no-input --quiet -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -e ".[dev]"
	@rm -f .venv/.installed-*
	@touch $@

# The whole main job on the simulated cohort: nothing is downloaded.
demo: $(STAMP)
	$(BIN)/biosig-mtl demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One thread for each process of the tests: more only get in each other's way.
test: lint
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/pytest -n $(JOBS) -m "not benchmark" --cov --cov-branch --cov-fail-under=90 --cov-report=term:skip-covered

# The quick tests with the lowest versions that pyproject.toml declares. Of what those need in turn, the newest that they allow:
# pip has no word for less. TORCH_INDEX is worth giving here: on Linux the default build of torch brings gigabytes of CUDA.
LOWEST := .venv-lowest
test-lowest:
	$(PYTHON) -m venv $(LOWEST)
	$(PYTHON) tests/lowest.py > $(LOWEST)/pins.txt
	$(LOWEST)/bin/pip install --disable-pip-version-check --no-input --quiet -c $(LOWEST)/pins.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -e ".[dev]"
	$(LOWEST)/bin/python tests/lowest.py --off
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(LOWEST)/bin/pytest -n $(JOBS) -m "not benchmark and not slow" --ignore tests/browser

# Ours beside NeuroKit2, WFDB, sleepecg, HeartPy, BioSPPy and py-ecg-detectors, on one thread; some minutes. Ends by saying which
# ratios lost more than 20 % against tests/benchmarks/ratios.json, and fails if one did.
bench: $(STAMP) .venv/.bench-installed
	$(BIN)/python -m tests.benchmarks.guard bench

# Hold the next runs to what the last one measured.
bench-accept: $(STAMP)
	$(BIN)/python -m tests.benchmarks.guard accept

.venv/.bench-installed: $(STAMP)
	$(BIN)/pip install --disable-pip-version-check --no-input --quiet -c constraints.txt -e ".[bench]"
	@touch $@

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find biosig_mtl tests -name __pycache__ -type d -prune -exec rm -rf {} +
