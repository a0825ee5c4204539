# `make repro` and `make test` set up all that they need. The machine must have Python 3.11 and reach a package index.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# DVC starts stages as `python`, which must be the python of .venv.
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"

# The files of tests beside each other, on up to four processors.
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadgroup

.PHONY: help setup repro test test-quick test-browser lint bench bench-gpu experiments doctor clean-work
help:  ## list these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(VENV)/.installed  ## create .venv, with the pinned packages and this one
$(VENV)/.installed: requirements.txt requirements-app.txt requirements-speakers.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt -r requirements-app.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-speakers.txt --editable .
	touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@

# The first command is for DVC, which does not see that another version of a library has been installed.
repro: setup  ## run the pipeline, from recordings to faces and their evaluation
	$(RUN) dvc repro --quiet --force --single-item code
	$(RUN) dvc repro

test: $(VENV)/.installed-dev  ## run the tests
	$(RUN) python -m pytest $(PARALLEL)

test-quick: $(VENV)/.installed-dev  ## run the tests that take seconds, without the pipeline
	$(RUN) python -m pytest $(PARALLEL) -m "not slow"

test-browser: $(VENV)/.installed-dev  ## test report and page in a browser (needs Chromium: apt-get install chromium)
	$(RUN) python -m pytest tests/evaluation/browser_report.py tests/app/browser_page.py

lint: $(VENV)/.installed-dev  ## check style and types
	$(RUN) ruff check . && $(RUN) ruff format --check . && $(RUN) mypy

bench-gpu: $(VENV)/.installed-dev  ## test and time the networks on a GPU
	$(RUN) python -m pytest -m gpu -rs tests/gpu
	$(RUN) PYTHONPATH=src python benchmarks/gpu.py

bench: $(VENV)/.installed-dev  ## time the parts against other libraries
	@for script in $(filter-out benchmarks/make_% benchmarks/gpu.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(RUN) PYTHONPATH=src python $$script || exit 1; done

experiments: setup  ## compare experiments: what differs between them
	$(RUN) dvc exp show --no-pager --only-changed --drop '^(src|stages|data|models|results)(/|$$)' --sort-by recall_at_10_percent --sort-order desc

doctor: setup  ## say what is installed and what is missing
	$(RUN) speech2face doctor

clean-work:  ## delete finished and unfinished work (.work)
	rm -rf .work
