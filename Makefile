# Everything a newcomer needs: `make demo` and `make test`. Each installs what it lacks into .venv.
PYTHON ?= python3.11
VENV   := .venv
RUN    := $(VENV)/bin/python
# Modules are compiled when they are first imported: most of the 16,000 that come along never are.
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --no-compile
export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE  := 1
# Some images forbid Python to keep what it has compiled: each of the many processes here would compile all of it anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-api test-postgres lint types style collect format css pictures pictures-readme clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "Goldloop needs Python 3.11 ($(PYTHON) was not found; set PYTHON=/path/to/python3.11)."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.installed-tests: $(VENV)/.installed tests/requirements.txt
	$(INSTALL) -r tests/requirements.txt
	@touch $@

demo: $(VENV)/.installed  ## Run the whole loop once on a small banking77 project, then serve it until Ctrl-C (PORT=8000)
	@$(RUN) manage.py serve --check
	@$(RUN) manage.py migrate --verbosity 0
	@$(RUN) manage.py demo
	@exec $(RUN) manage.py serve --page /p/demo-banking/

test: $(VENV)/.installed-tests  ## Lint, check types, run all tests; in Chromium, on PostgreSQL and Redis, where they are
	@$(MAKE) --no-print-directory --jobs=2 types style collect
	$(RUN) -m pytest -rs
	$(RUN) -m tests.on_postgres -rs

test-postgres: $(VENV)/.installed-tests  ## All tests that touch the database, on PostgreSQL; some of them are in `make test`
	$(RUN) -m tests.on_postgres -rs --portable

test-api: $(VENV)/.installed-tests  ## Ask the API whatever its description allows, and what it does not, at length
	API_EXAMPLES=100 $(RUN) -m pytest -rs tests/api/test_schemathesis.py

test-slow: $(VENV)/.installed-tests  ## What takes long: every kill point on both stacks, ten bills, the demo again, benchmarks
	$(RUN) -m pytest -rs --slow -m slow
	$(RUN) -m tests.on_postgres -rs --slow -m slow

lint: $(VENV)/.installed-tests  ## Lint, types and import directions only
	@$(MAKE) --no-print-directory --jobs=2 types style

types: $(VENV)/.installed-tests
	$(VENV)/bin/mypy

style: $(VENV)/.installed-tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports

# Compiles all that tests import, on the core that mypy leaves free; else each process of pytest-xdist compiles it.
collect: $(VENV)/.installed-tests
	@said=$$($(RUN) -m pytest -n 0 --collect-only -q 2>&1) || { echo "$$said"; exit 1; }

format: $(VENV)/.installed-tests  ## Format the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

css: static/src/node_modules  ## Compile the stylesheet (needs Node; the result is committed)
	cd static/src && npm run --silent build

pictures: $(VENV)/.installed-tests  ## Take pictures of every page into var/pictures (needs Chromium)
	$(RUN) -m benchmarks.pictures

pictures-readme: $(VENV)/.installed-tests  ## Take the pictures again that README.md shows
	$(RUN) -m benchmarks.pictures --readme

static/src/node_modules: static/src/package-lock.json
	cd static/src && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

clean:  ## Remove the environment and caches (never var/, where your data is)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
