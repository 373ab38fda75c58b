# One command for each thing; whichever is first makes .venv from constraints.txt.
#   make demo         fine-tune, evaluate and export a small classifier of film reviews
#   make test         the tests, but for the slow ones      make test-slow    those
#   make lint         style and types                       make docs         the manual, in site/
#   make bench DATA=  side by side with other libraries; DATA is a folder, see benchmarks/README.md
#   make venv         only the environment                  make clean        remove what the others made, but for environments

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow lint docs bench clean

PYTHON ?= python3
BIN := .venv/bin

# Makes the environment in the folder of the target out of $(PACKAGES), with a line that counts them as they come.
# What pip says of errors goes to stderr and is shown as it is.
define environment
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"kerasft needs Python 3.11 or newer; $(PYTHON) is {v[0]}.{v[1]}. Name another: make PYTHON=python3.12 …")'
	@echo "Making $(@D) (some minutes, the first time only)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install --progress-bar off $(PACKAGES) | awk '\
	  /^ *Collecting|^Requirement already satisfied/ { printf "\r\033[K  package %d: %s", ++n, $$1 == "Collecting" ? $$2 : $$4; fflush() } \
	  /^Installing collected packages/ { printf "\r\033[K  unpacking"; fflush() } \
	  END { printf "\r\033[K" }'
	@touch $@
endef

help:
	@sed -n 's/^#   //p' Makefile

venv: .venv/.installed

.venv/.installed: PACKAGES = --constraint constraints.txt --editable '.[dev,docs]'
.venv/.installed: setup.py constraints.txt
	$(environment)

.venv-peers/.installed: PACKAGES = --requirement benchmarks/peers-requirements.txt
.venv-peers/.installed: benchmarks/peers-requirements.txt
	$(environment)

.venv-adapters/.installed: PACKAGES = --requirement benchmarks/adapters-requirements.txt
.venv-adapters/.installed: benchmarks/adapters-requirements.txt
	$(environment)

demo: venv
	@$(BIN)/kerasft demo

test: venv
	@$(BIN)/pytest -n 2 --dist worksteal

test-slow: venv
	@$(BIN)/pytest -n 2 --dist worksteal -m slow

lint: venv
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: venv
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "The manual is in site/index.html"

bench: venv .venv-peers/.installed .venv-adapters/.installed
	@test -n "$(DATA)" || { echo "Name the folder of the data sets: make bench DATA=… (benchmarks/README.md says where they come from)"; exit 2; }
	@$(BIN)/python -m benchmarks.run all --data "$(DATA)"

clean:
	@rm -rf build dist site .pytest_cache .ruff_cache .mypy_cache *.egg-info
	@find kerasft tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
