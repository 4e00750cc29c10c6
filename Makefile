# Each target does its own set-up: all it needs is Python 3.10 or newer with pip. PYTHON=python3.12 chooses another one.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DELETE_ON_ERROR:
.PHONY: demo test lint bench bench-postgres campaign prove docs clean

demo: $(VENV)/.flowkit  ## index the standard library's code with a durable workflow and print what it found
	$(BIN)/python examples/code_index.py

test: lint  ## everything that must hold: style, types, behaviour
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.flowkit-dev
	$(BIN)/ruff check .
	$(BIN)/python -m mypy --strict flowkit

SEEDS ?= 100000
KILLS ?= 10000

BENCHMARKS := fan_out chain shapes growth start latency processes presence

bench: $(VENV)/.flowkit  ## every benchmark, each against the raw limit of the same database in the same run
	@for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || exit 1; done

prove: $(VENV)/.flowkit-dev  ## an hour on two cores: 100,000 simulated worlds, every planted bug, 10,000 kills on each database
	$(BIN)/python -m tests.simulation.prove --seeds $(SEEDS)
	FLOWKIT_KILLS=$(KILLS) $(BIN)/python -m pytest -n 2 tests/campaign/test_kills.py
	$(MAKE) campaign

ON_POSTGRES := fan_out chain latency processes growth idle

bench-postgres: $(VENV)/.flowkit-dev  ## the benchmarks on a PostgreSQL that pip brings, against raw loops on the same server
	@for name in $(ON_POSTGRES); do $(BIN)/python -m benchmarks.on_postgres.$$name || exit 1; done

campaign: $(VENV)/.flowkit-dev  ## 10,000 steps on three hosts while workers, connections, the server and a network fail
	FLOWKIT_HOST_STEPS=10000 $(BIN)/python -m pytest -q tests/campaign/test_hosts.py

docs: $(VENV)/.flowkit-docs  ## the documentation site in site/, every warning an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "look at it: $(BIN)/python -m http.server --directory site"

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.*

$(VENV)/.flowkit: $(BIN)/pip setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.flowkit-dev: $(BIN)/pip setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.flowkit

$(VENV)/.flowkit-docs: $(BIN)/pip setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@ $(VENV)/.flowkit

# Some distributions ship venv without ensurepip; then the interpreter's own pip puts a pip into the new environment.
$(BIN)/pip:
	@command -v $(PYTHON) >/dev/null || { echo "flowkit needs Python 3.10 or newer and found no '$(PYTHON)'; say make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "flowkit needs Python 3.10 or newer, but $(PYTHON) is $$($(PYTHON) -V 2>&1); say make PYTHON=/path/to/python3.10" >&2; exit 1; }
	@rm -rf $(VENV)
	@echo "making $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
	  rm -rf $(VENV) && $(PYTHON) -m venv --without-pip $(VENV) && \
	  $(PYTHON) -m pip install --quiet --target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" pip && \
	  printf '#!/bin/sh\nexec "$$(dirname "$$0")/python" -m pip "$$@"\n' >$@ && chmod +x $@; } || { \
	  rm -rf $(VENV); echo "cannot make a virtual environment: install the venv module or pip for $(PYTHON) (on Debian: apt install python3-venv)" >&2; exit 1; }
	@touch $@
