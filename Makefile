# One command per job. PYTHON is the interpreter that creates .venv; everything else runs inside .venv.
PYTHON ?= python3
BIN := .venv/bin
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

.PHONY: demo test check slow mutants bench goldens setup-ui clean

demo: .venv/.torch
	$(BIN)/onchip demo

# two workers, as many as the smallest machine has cores
test: .venv/.dev
	$(BIN)/python -m pytest -q -n 2 $(ARGS)

# what tests of pages need besides: a browser, and the packages that web/ is built from. With neither, make test skips
# those tests and says how many
setup-ui:
	command -v chromium || command -v chromium-browser || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -q -y --no-install-recommends chromium; } \
	  || echo "no Chromium: tests of pages will be skipped"
	command -v npm && (cd web && npm ci --no-audit --no-fund) || echo "no npm, or no registry: web/ will not be built again"

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/python -m pytest -q tests/test_tiny.py

slow: .venv/.dev
	$(BIN)/python -m pytest -q -m slow $(ARGS)

# after a change of what is printed: write the transcripts anew, and look at git diff tests/golden
goldens: .venv/.dev
	ONCHIP_WRITE_GOLDENS=1 $(BIN)/python -m pytest -q tests/cli/test_goldens.py -k golden_one

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
