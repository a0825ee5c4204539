# `make repro` and `make test` set up all that they need. The machine must have Python 3.11, 3.12 or 3.13 and reach a package index.
# Of these commands the first that fits is taken: it must run, which not every command of a version manager does, and make environments.
PYTHON ?= python3.13 python3.12 python3.11 python3 python
FITS := import ctypes, ensurepip, sqlite3, ssl, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
CHOSEN = $(or $(shell for python in $(PYTHON); do $$python -c "$(FITS)" 2> /dev/null && echo $$python && break; done),$(error \
No Python 3.11, 3.12 or 3.13 that can make virtual environments (ensurepip, sqlite3, ssl, venv) among: $(PYTHON). \
Install one (on Debian and Ubuntu python3-venv with it), or say where one is: make setup PYTHON=/path/to/python3.13))
VENV := .venv
BIN := $(VENV)/bin
# DVC starts stages as `python`, which must be the python of .venv.
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"

# The files of tests beside each other, on up to four processors, in the order of tests/conftest.py. pytest-xdist waits for ever for what
# a process in place of one that crashed should do, so there is none.
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadgroup --no-loadscope-reorder --max-worker-restart 0

.PHONY: help setup repro test test-quick test-browser test-cluster lint bench bench-gpu experiments doctor clean-work
help:  ## list these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(VENV)/.installed  ## create .venv, if there is none, with the pinned packages and this one
$(VENV)/.installed: requirements.txt requirements-app.txt requirements-speakers.txt pyproject.toml
	$(if $(shell test -x $(BIN)/python || echo missing),$(CHOSEN) -m venv --clear $(VENV))
	$(BIN)/python -m pip install --quiet -r requirements.txt -r requirements-app.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-speakers.txt --editable .
	touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-cluster.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@

# The first command is for DVC, which does not see that another version of a library has been installed.
repro: setup  ## run the pipeline, from recordings to faces and their evaluation
	$(RUN) PYTHONPATH=src python stages/code.py
	$(RUN) dvc repro

test: $(VENV)/.installed-dev  ## run the tests
	$(RUN) python -m pytest $(PARALLEL)

test-quick: $(VENV)/.installed-dev  ## run the tests that take seconds, without the pipeline
	$(RUN) python -m pytest $(PARALLEL) -m "not slow"

test-browser: $(VENV)/.installed-dev  ## test report and page in a browser (needs Chromium: apt-get install chromium)
	$(RUN) python -m pytest tests/evaluation/browser_report.py tests/app/browser_page.py

test-cluster: $(VENV)/.installed-dev  ## test a Ray cluster of two nodes on this machine
	$(RUN) python -m pytest tests/pipeline/cluster_of_two.py

lint: $(VENV)/.installed-dev  ## check style and types
	$(RUN) ruff check . && $(RUN) ruff format --check . && $(RUN) mypy

bench-gpu: $(VENV)/.installed-dev  ## test and time the stages on a GPU, for docs/scale.md
	$(RUN) python -m pytest -m gpu -rs tests/gpu
	$(RUN) PYTHONPATH=src python benchmarks/gpu.py --write docs/scale.md --json docs/scale.jsonl

bench: $(VENV)/.installed-dev  ## time the parts against other libraries
	@for script in $(filter-out benchmarks/make_% benchmarks/gpu.py benchmarks/estimate.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(RUN) PYTHONPATH=src python $$script || exit 1; done

experiments: setup  ## compare experiments: what differs between them
	$(RUN) dvc exp show --no-pager --only-changed --drop '^(src|stages|data|models|results)(/|$$)' --sort-by recall_at_10_percent --sort-order desc

doctor: setup  ## say what is installed and what is missing
	$(RUN) speech2face doctor

clean-work:  ## delete finished and unfinished work (.work)
	rm -rf .work
