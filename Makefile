# Everything is installed into .venv from pyproject.toml, at the versions of constraints.txt.
PYTHON ?= $(firstword $(shell command -v python3.11) $(shell command -v python3) python3)
BIN := .venv/bin
STAMP := .venv/installed
WORKERS ?= auto

.PHONY: help install sweep study benchmark torture test test-slow lint clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

install: $(STAMP)  ## set up .venv

sweep: $(STAMP)  ## train 3 betas x 5 seeds on rendered scenes and write runs/beta_sweep/report.html (ARGS="--help")
	$(BIN)/python -m experiments.beta_sweep $(ARGS)

study: $(STAMP)  ## train and measure every disentangling method, and write runs/disentanglement/report.html (ARGS="--help")
	$(BIN)/python -m experiments.disentanglement_study $(ARGS)

benchmark: $(STAMP)  ## install PyTorch too and measure vaejax beside it: 20 minutes on 2 cores (ARGS="--quick")
	@$(BIN)/python -c "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)" || \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,bench]"
	$(BIN)/python -m experiments.benchmarks all $(ARGS)

torture: $(STAMP)  ## kill, stop, starve and damage a small sweep in 293 ways: 15 minutes on 2 cores (ARGS="--quick")
	$(BIN)/python -m experiments.benchmarks.torture $(ARGS)

test: $(STAMP)  ## run the tests
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow" $(ARGS)

test-slow: $(STAMP)  ## run the tests that take longer
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(STAMP)  ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

clean:  ## remove .venv and caches; runs/ stays
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build *.egg-info

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not installed; give another with 'make PYTHON=...' (3.11 or newer)" >&2; exit 2; }
	@$(PYTHON) -m venv .venv || { echo "error: $(PYTHON) can't make a virtual environment; on Debian: apt install python3-venv" >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@
