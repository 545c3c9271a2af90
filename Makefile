# `make demo` and `make test` are all that a fresh machine needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONPATH := $(CURDIR)

.PHONY: setup setup-dev demo test test-all lint format bench

# The stamps are remade when the pins change.
setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev

$(VENV)/.installed: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	touch $@

demo: setup
	$(BIN)/python -m trainers.demo

test: setup-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-all: setup-dev
	$(BIN)/python -m pytest

lint: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What ours is measured beside; PEERS_PYTHON may name a Python that has it.
PEERS := .venv-peers
PEERS_PYTHON ?=
ROWS ?= all

bench: setup $(if $(PEERS_PYTHON),,$(PEERS)/.installed)
	$(BIN)/python -m benchmarks --rows $(ROWS) \
		--peers-python $(or $(PEERS_PYTHON),$(PEERS)/bin/python)
	$(BIN)/python -m benchmarks.serving_throughput \
		--peers-python $(or $(PEERS_PYTHON),$(PEERS)/bin/python) \
		--output benchmarks/results/$$(date +%F)-serving.json

$(PEERS)/.installed: benchmarks/requirements-peers.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet \
		--requirement $<
	touch $@
