# Python 3.11 or newer, git and make are all a machine needs. `make demo` and `make test` each work alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test unit peers check lock clean

help:  ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(VENV)/.run: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:3]; v >= (3, 11) or sys.exit("error: eeflow needs Python 3.11 or newer; this is %d.%d.%d. Try: make PYTHON=python3.11 demo" % v)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: requirements-test.lock $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-test.lock
	@touch $@

demo: $(VENV)/.run  ## Download imagery of a farm from the local Earth Engine into demo/, no account needed
	$(BIN)/eeflow demo

test: $(VENV)/.test  ## Run every test (no network, no account)
	$(BIN)/python -m pytest --numprocesses=4 --dist=loadfile --no-loadscope-reorder

unit: $(VENV)/.test  ## Run the quick tests only
	$(BIN)/python -m pytest tests/unit

PEERS := $(VENV)/peers
peers: $(VENV)/.test  ## Fetch what geedim, edown and xee test with, and run their own tests on the local Earth Engine
	$(BIN)/python -m pip download --quiet --no-deps --no-binary :all: --dest $(PEERS) geedim==2.0.0 edown==0.2.1
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(PEERS)/more rioxarray zarr donfig numcodecs google-crc32c
	cd $(PEERS) && tar -xzf geedim-2.0.0.tar.gz && tar -xzf edown-0.2.1.tar.gz
	cp tests/server/geedim_fixtures.py $(PEERS)/geedim-2.0.0/tests/conftest.py
	cd $(PEERS)/geedim-2.0.0 && PYTHONPATH=../../../tests/server ../../bin/python -m pytest -q -c pyproject.toml tests
	cd $(PEERS)/edown-0.2.1 && PYTHONPATH=../../../tests/server:../more ../../bin/python -m pytest -q -c pyproject.toml -p edown_fixtures tests/test_live_s2.py
	PYTHONPATH=$(PEERS)/more $(BIN)/python -m pytest tests/server/test_eelocal_xee_suite.py

check: $(VENV)/.test  ## Lint, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

UV_COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet
lock:  ## Lock the dependencies anew (needs uv)
	$(UV_COMPILE) --extra build -o requirements.lock
	$(UV_COMPILE) --extra build --extra test -c requirements.lock -o requirements-test.lock

clean:  ## Remove the environment and what the demo wrote
	rm -rf $(VENV) demo
