# One command per job. PYTHON is the interpreter that creates .venv; everything else runs inside .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

.PHONY: demo test check slow mutants bench clean

demo: .venv/.torch
	$(BIN)/onchip demo

# two workers, as many as the smallest machine has cores
test: .venv/.dev
	$(BIN)/python -m pytest -q -n 2 $(ARGS)

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/python -m pytest -q tests/test_tiny.py

slow: .venv/.dev
	$(BIN)/python -m pytest -q -m slow $(ARGS)

mutants: .venv/.dev
	$(BIN)/python -m tests.mutants $(ARGS)

bench: .venv/.dev
	$(BIN)/python -m bench

clean:
	rm -rf .venv build *.egg-info

# Stamps: a second call installs nothing, a changed pyproject.toml or constraints.txt installs again.
.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.torch: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e '.[torch]'
	touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) -e '.[dev]'
	touch $@ .venv/.torch
