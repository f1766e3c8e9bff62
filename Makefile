# `make run` is all a newcomer needs; `make help` lists the rest.

SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(firstword $(foreach python,python3 python3.13 python3.12 python3.11,$(shell \
  $(python) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(python))))

.DEFAULT_GOAL := help
.PHONY: help install run test check fmt bench faults load

help: ## Show this list
	@sed -nE 's/^([a-z]+):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

install: $(VENV)/.installed ## Make .venv and install DistillHub, pinned by constraints.txt

run: $(VENV)/.installed ## Start it and print a sign-in link (options: UP="--port 9000")
	@exec $(BIN)/distillhub up $(UP)

test: check $(VENV)/.services ## Every check, then every test; what asks a database on PostgreSQL, too
	TEST_DATABASE=postgres $(PYTEST) tests/projects tests/training tests/site
	$(PYTEST)

check: $(VENV)/.developed ## Formatting, lint, types, templates, imports, migrations, deployment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/djlint --quiet --check --lint templates
	$(BIN)/lint-imports
	$(CHECKED) makemigrations --check --dry-run
	$(CHECKED) check --deploy --fail-level WARNING

fmt: $(VENV)/.developed ## Format the code and the templates
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/djlint --quiet --reformat templates

bench: $(VENV)/.developed ## Print timings and sizes
	$(BIN)/pytest -m bench -s -p no:xdist tests/bench

PYTEST = $(BIN)/pytest --numprocesses $(or $(JOBS),2) --dist loadgroup

faults: $(VENV)/.services ## Strike whole installations at random moments (about an hour)
	$(BIN)/pytest -m 'faults or not faults' -s -p no:xdist tests/faults

load: $(VENV)/.services $(VENV)/.developed ## Fifty people and twenty runs in training (options: LOAD="--seconds 60")
	@$(BIN)/python -c 'import locust' 2>/dev/null || $(INSTALL) '.[dev,load]'
	$(BIN)/python -m tests.load $(LOAD)

# Settings as a deployment has them, in a home of its own.
CHECKED := env DISTILLHUB_HOME=$(VENV)/checked SITE_URL=https://distillhub.example \
  ALLOWED_HOSTS=distillhub.example BEHIND_PROXY=true $(BIN)/python manage.py

# Stamps: nothing is installed twice until what is asked for changes.

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "DistillHub needs Python 3.11 or newer on the PATH," \
	  "or named: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	@echo "Making $(VENV) with $(PYTHON) ..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# Linux without an NVIDIA driver needs no CUDA build of torch: 200 MB instead of 3 GB.
TORCH = $(shell test "$$(uname -s)" = Linux && ! command -v nvidia-smi >/dev/null \
  && command -v curl >/dev/null && curl -fsIo /dev/null -m 5 https://download.pytorch.org/whl/cpu/ \
  && echo --extra-index-url https://download.pytorch.org/whl/cpu)
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH) \
  --constraint constraints.txt --editable

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing what DistillHub needs (a few minutes the first time) ..."
	@$(INSTALL) .
	@$(BIN)/distillhub collect-static --home $(VENV)/checked
	@touch $@

$(VENV)/.developed: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing what DistillHub and its tests need (a few minutes the first time) ..."
	@$(INSTALL) '.[dev]'
	@$(BIN)/distillhub collect-static --home $(VENV)/checked
	@touch $(VENV)/.installed $@

# A browser, Redis, PostgreSQL and PgBouncer.
$(VENV)/.services: .ci/services
	@.ci/services
	@touch $@
