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
.PHONY: help install demo test lint bench clean

help:
	@echo "make install | demo | test | lint | bench | clean"

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

# Ours beside NeuroKit2, WFDB, sleepecg, HeartPy, BioSPPy and py-ecg-detectors, on one thread; some minutes.
bench: $(STAMP) .venv/.bench-installed
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/pytest -m benchmark -s tests/benchmarks

.venv/.bench-installed: $(STAMP)
	$(BIN)/pip install --disable-pip-version-check --no-input --quiet -c constraints.txt -e ".[bench]"
	@touch $@

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find biosig_mtl tests -name __pycache__ -type d -prune -exec rm -rf {} +
