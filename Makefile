# Every target creates the virtual environment $(VENV) and installs the packages it needs.
#   make demo | test | test-all | chaos | mutants | bench | profile | record | schema | pictures | docs | docs-serve | layout | lint | format | typecheck | check | audit | release-check | clean
# Variables: PYTHON (any Python >= 3.10), VENV, PINS ("openai==2.45.0 ..."), DEMO_ARGS ("--live"), PYTEST_ARGS, WORKERS (3),
#   CHAOS_ARGS ("--operations 2000 --seed 7"), BENCH_ARGS ("--quick"), PROFILE_ARGS ("--items 990"), LAYOUT_ARGS (other checkouts),
#   SCHEMA (OpenAI's OpenAPI document, in JSON or YAML), MUTANTS (patterns of names, as mutmut prints them).

PYTHON ?= python3
VENV ?= .venv
PINS ?=
DEMO_ARGS ?=
PYTEST_ARGS ?=
WORKERS ?= 3
CHAOS_ARGS ?=
BENCH_ARGS ?=
PROFILE_ARGS ?=
LAYOUT_ARGS ?=
MUTANTS ?= '*.x_decide_*' '*.x_may_send_again_*' '*RetryPolicy*' '*.x_batches_*' '*.x__cuts_*' '*.x__split_*' '*append*' '*_Write*'
DIST ?= dist

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
VERSIONS := from importlib.metadata import version as v; import platform as p; \
  print("Python", p.python_version(), *(f"{n} {v(n)}" for n in ("openai", "openai-agents")), sep=" | ")

.PHONY: help demo test test-all chaos mutants bench profile record schema pictures docs docs-serve layout lint format typecheck check audit release-check clean FORCE
.DELETE_ON_ERROR:

help:
	@sed -n '2s/^# *//p' Makefile

demo: $(VENV)/.installed-cli
	@$(BIN)/openai-sessions demo $(DEMO_ARGS)

# `make test` is what a change must pass. `make test-all` runs the tests marked `exhaustive` too, and more examples.
test: SELECTED = -m "not exhaustive"
# Where the environment forbids bytecode, each of a thousand processes would compile what it imports again.
test test-all: export PYTHONDONTWRITEBYTECODE =
test-all mutants: export EXHAUSTIVE = 1
test: $(VENV)/.installed-dev
test-all: $(VENV)/.installed-models
test test-all:
	@$(BIN)/python -c '$(VERSIONS)'
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(SELECTED) $(PYTEST_ARGS)

chaos: $(VENV)/.installed-chaos
	@$(BIN)/python -m tools.chaos $(CHAOS_ARGS)

mutants: $(VENV)/.installed-mutants
	$(BIN)/mutmut run --max-children 2 $(MUTANTS)
	$(BIN)/mutmut results | sed '/not checked/d'

bench: $(VENV)/.installed-bench
	@$(BIN)/python -m tools.bench $(BENCH_ARGS)

profile: $(VENV)/.installed-bench
	@$(BIN)/python -m tools.bench.profile $(PROFILE_ARGS)

record: $(VENV)/.installed-dev
	@$(BIN)/python -m tools.recording

schema: $(VENV)/.installed-dev
	@$(BIN)/python -m tools.schema $(or $(SCHEMA),$(error Name the document: make schema SCHEMA=openapi.yaml))

pictures: $(VENV)/.installed-dev
	@$(BIN)/python -m tools.demo_picture
	@$(BIN)/python -m tools.screenshot
	@$(BIN)/python -m tools.chat_picture
	@$(BIN)/python -m tools.streamlit_picture

docs: $(VENV)/.installed-docs
	@$(BIN)/python -m tools.docs

docs-serve: $(VENV)/.installed-docs
	@$(BIN)/python -m tools.docs --serve

layout: $(VENV)/.created
	@$(BIN)/python -m tools.layout $(LAYOUT_ARGS)

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/zizmor --offline --quiet --min-severity medium .github

format: $(VENV)/.installed-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: $(VENV)/.installed-dev
	$(BIN)/mypy --strict
	$(BIN)/pyright --pythonpath $(BIN)/python

check: lint typecheck test

# The newest packages that the library and its extras install, held against the advisories that PyPI knows.
audit: $(VENV)/.installed-audit
	@$(BIN)/uv pip compile --quiet --all-extras --generate-hashes --python $(BIN)/python \
		--output-file $(VENV)/audit.txt pyproject.toml
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off --requirement $(VENV)/audit.txt

release-check: $(VENV)/.installed-release
	@$(BIN)/python -m tools.release_check --outdir $(DIST)

clean:
	rm -rf .venv .ci-venvs build dist mutants .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "$(PYTHON) is Python %d.%d; openai-sessions needs 3.10 or newer. Name one: make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Creating the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# pip installs dependency groups since 25.1.
$(VENV)/.pip: $(VENV)/.created
	@$(PIP) install 'pip>=25.1'
	@touch $@

# The pins that an environment was installed with: rewritten, and so newer, only when they change.
$(VENV)/.pins: FORCE $(VENV)/.created
	@echo '$(PINS)' | cmp -s - $@ || echo '$(PINS)' > $@

# What pip installs for each stamp file: the package with extras, or with a dependency group of pyproject.toml.
install-cli := --editable '.[cli]'
install-chaos := --editable '.[agents,emulator]'
install-bench := --editable . --group bench
install-docs := --editable . --group docs
install-dev := --editable . --group dev
install-models := --editable . --group models
install-mutants := --editable . --group mutants
install-lint := --group lint
install-audit := --group audit
install-release := --group release

$(foreach group,audit bench dev docs lint models mutants release,$(VENV)/.installed-$(group)): $(VENV)/.pip

$(VENV)/.installed-%: pyproject.toml $(VENV)/.pins
	@echo "Installing into $(VENV): $(install-$*) $(PINS)"
	@$(PIP) install $(install-$*) $(PINS)
	@touch $@
