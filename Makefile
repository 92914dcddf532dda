# Every target makes .venv and installs the pinned packages that it needs, by itself. `make help` lists them.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The interpreter to make .venv with. Not given: the one that made it, or the first that scripts/find-python finds.
PYTHON ?=
UV ?= uv
# More than cores, since most tests wait for servers and processes of their own.
WORKERS ?= 3
SEEDS ?= 1,2,3,4,5,6,7,8,9,10
ARGS ?=
CHROMIUM := /usr/bin/chromium

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input
RUNTIME := .venv/.installed-runtime
DEV := .venv/.installed-dev
# Suites that are not in this checkout have no target.
ABSENT := $(if $(wildcard tests/chaos),,chaos) $(if $(wildcard tests/browser),,test-browser screenshots)
SOURCES := $(wildcard provisioner tests benchmarks scripts/*.py)
# Why .venv has to be made again, if it has to.
STALE := $(if $(filter-out help clean pins,$(or $(MAKECMDGOALS),help)),$(shell scripts/stale-venv .venv '$(PYTHON)'))
AGAIN := $(if $(STALE),FORCE)
# Pure decisions, readers, the store, vendors over HTTP: few real processes, so it takes two or three minutes.
QUICK := tests/decisions tests/packaging tests/planning tests/roster tests/settings tests/store tests/targets tests/test_ground.py

.PHONY: help demo test test-quick test-slow test-switches test-packaging test-scim test-foreign lint format bench docs dist pins clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / && index(" $(ABSENT) ", " " $$1 " ") == 0 {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## show everything on this machine: no Redis, no accounts needed (ARGS=--keep leaves it running)
	@$(BIN)/provisioner demo $(ARGS)

test: $(DEV) ## run the tests (ARGS="-k guard": some of them; ARGS=--cov: with the coverage floor)
	@$(BIN)/python -m pytest --quiet --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-quick: $(DEV) ## run the tests that need few processes, in two or three minutes
	@$(BIN)/python -m pytest --quiet --numprocesses $(WORKERS) $(QUICK) $(ARGS)

test-slow: $(DEV) ## run whole deployments of real processes, with real silences and back-offs
	@$(BIN)/python -m pytest --quiet --numprocesses $(WORKERS) --no-loadscope-reorder -m slow $(ARGS)

test-switches: $(DEV) ## run the tests of convergence under each reading that the vendors' texts leave open
	@for switch in $$($(BIN)/python -m tests.support.switches); do echo "$$switch" >&2; \
	  PROVISIONER_TEST_SANDBOX="$$switch" $(BIN)/python -m pytest --quiet -m "slow or not slow" tests/e2e/test_convergence.py tests/e2e/test_sync.py $(ARGS) || exit 1; done

test-packaging: $(DEV) ## install pins and wheel into empty environments, and run what was installed
	@$(BIN)/python -m pytest --quiet --numprocesses 2 --dist loadfile -m packaging tests/packaging $(ARGS)

test-scim: $(DEV) ## run the SCIM target against services that others wrote
	@$(BIN)/python -m pytest --quiet -m foreign tests/foreign/test_scim_services.py $(ARGS)

test-foreign: $(DEV) ## run the tests against servers that others wrote, each in an environment of its own
	@$(BIN)/python -m pytest --quiet -m foreign tests/foreign $(ARGS)

lint: $(DEV) ## check style, types and the direction of the imports
	@$(BIN)/ruff check --quiet $(SOURCES)
	@$(BIN)/ruff format --quiet --check $(SOURCES)
	@$(BIN)/mypy --no-error-summary $(SOURCES)
	@$(BIN)/lint-imports --no-logo

format: $(DEV) ## put the sources into the house's format
	@$(BIN)/ruff check --quiet --fix-only $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

bench: $(DEV) ## measure the figures (ARGS=--help)
	@$(BIN)/python -m benchmarks $(ARGS)

ifeq ($(filter chaos,$(ABSENT)),)
.PHONY: chaos
chaos: $(DEV) ## kill and suspend workers, Redis and vendors while runs are under way, put Redis back, ten seeds (SEEDS=3: that one); undo and reviewed plans under kills; a thousand runs, two hundred days, ten thousand webhooks
	@PROVISIONER_TEST_CHAOS_SEEDS=$(SEEDS) $(BIN)/python -m pytest --quiet --capture=no -m chaos $(ARGS)
endif

ifeq ($(filter test-browser,$(ABSENT)),)
.PHONY: test-browser screenshots
test-browser: $(DEV) $(CHROMIUM) ## drive the control page with Debian's Chromium
	@$(BIN)/python -m pytest --quiet -m browser tests/browser $(ARGS)

screenshots: $(DEV) $(CHROMIUM) ## picture every page, phone and desktop, dark and light, in build/screenshots
	@$(BIN)/python -m tests.browser.screenshots build/screenshots

$(CHROMIUM):
	@test "$$(id -u)" -eq 0 && command -v apt-get >/dev/null || { echo "Install Chromium as $@ first" >&2; exit 1; }
	@echo "Installing Chromium" >&2
	@apt-get update -qq
	@DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null
endif

docs: $(DEV) ## build the documentation into build/docs, strictly
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

dist: $(RUNTIME) ## build the source archive and the wheel into dist/, from the tracked files, without a download
	@$(BIN)/python scripts/make_dist.py

pins: ## resolve the dependencies anew and write requirements*.txt (needs uv)
	@scripts/compile-pins $(UV)

clean: ## remove what was made here, .venv too
	@rm -rf .venv .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .schemathesis build dist *.egg-info

.venv/bin/python: $(AGAIN)
	@python=$$(scripts/find-python '$(PYTHON)') \
	  && echo "Making .venv with $$python$(if $(STALE), ($(STALE)))" >&2 \
	  && "$$python" -m venv --clear .venv

$(RUNTIME): requirements.txt pyproject.toml $(AGAIN) | .venv/bin/python
	@echo "Installing what provisioner needs" >&2
	@$(PIP) install --require-hashes --requirement requirements.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# The development pins hold the runtime's, so both are in place afterwards.
$(DEV): requirements-dev.txt requirements.txt pyproject.toml $(AGAIN) | .venv/bin/python
	@echo "Installing what the checks need" >&2
	@$(PIP) install --require-hashes --requirement requirements-dev.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(RUNTIME) $@

# No file has this name, so what depends on it is out of date.
FORCE:
