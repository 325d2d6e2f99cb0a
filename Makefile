# Every target makes what it needs: a virtual environment in $(VENV), and the packages in it.
#   make demo | test | chaos | mutants | bench | profile | record | screenshot | lint | format | typecheck | check | wheel | clean
# Variables: PYTHON (any Python >= 3.10), VENV, PINS ("openai==2.45.0 ..."), DEMO_ARGS ("--live"), PYTEST_ARGS,
#   CHAOS_ARGS ("--operations 2000 --seed 7"), BENCH_ARGS ("--quick"), PROFILE_ARGS ("--items 990"),
#   TARGET (of `make record`: offline, or live with a key).

PYTHON ?= python3
VENV ?= .venv
PINS ?=
DEMO_ARGS ?=
PYTEST_ARGS ?=
CHAOS_ARGS ?=
BENCH_ARGS ?=
PROFILE_ARGS ?=
TARGET ?= offline
WHEELS ?= dist

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
VERSIONS := from importlib.metadata import version as v; import platform as p; \
  print("Python", p.python_version(), *(f"{n} {v(n)}" for n in ("openai", "openai-agents")), sep=" | ")

.PHONY: help demo test chaos mutants bench profile record screenshot lint format typecheck check wheel clean FORCE
.DELETE_ON_ERROR:

help:
	@sed -n '2s/^# *//p' Makefile

demo: $(VENV)/.installed-cli
	@$(BIN)/openai-sessions demo $(DEMO_ARGS)

test: $(VENV)/.installed-dev
	@$(BIN)/python -c '$(VERSIONS)'
	$(BIN)/python -m pytest $(PYTEST_ARGS)

chaos: $(VENV)/.installed-dev
	@$(BIN)/python -m tools.chaos $(CHAOS_ARGS)

mutants: $(VENV)/.installed-dev
	$(PIP) install 'mutmut==3.8.*'
	$(BIN)/mutmut run --max-children 2
	$(BIN)/mutmut results

bench: $(VENV)/.installed-bench
	@$(BIN)/python -m tools.bench $(BENCH_ARGS)

profile: $(VENV)/.installed-bench
	@$(BIN)/python -m tools.bench.profile $(PROFILE_ARGS)

record: $(VENV)/.installed-dev
	@$(BIN)/python -m tools.recording --target $(TARGET)

screenshot: $(VENV)/.installed-dev
	@$(BIN)/python -m tools.screenshot

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: $(VENV)/.installed-dev
	$(BIN)/mypy --strict
	$(BIN)/pyright --pythonpath $(BIN)/python

check: lint typecheck test

wheel: $(VENV)/.created
	@rm -f $(WHEELS)/openai_sessions-*.whl
	$(PIP) wheel --no-deps --wheel-dir $(WHEELS) .
	@ls $(WHEELS)/openai_sessions-*.whl

clean:
	rm -rf .venv .ci-venvs build dist mutants .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed and $(PYTHON) is %d.%d: name another, as in make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# What an environment was installed from: rewritten, and so newer, only when the pins change.
$(VENV)/.pins: FORCE $(VENV)/.created
	@echo '$(PINS)' | cmp -s - $@ || echo '$(PINS)' > $@

$(VENV)/.installed-%: pyproject.toml $(VENV)/.pins
	@echo "Installing openai-sessions[$*] $(PINS) into $(VENV), which takes a minute"
	@$(PIP) install --editable '.[$*]' $(PINS)
	@touch $@
