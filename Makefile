# Everything here sets up what it needs; a second run finds it done. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Extra arguments: `make demo ARGS="--engine-count 8"`, `make test ARGS="-k waves"`.
ARGS ?=
export PYTHON
# Where scripts/need-node puts a Node.js if there is none.
export PATH := $(CURDIR)/.venv/node/bin:$(PATH)

BIN := .venv/bin
PY := $(BIN)/python
INSTALLED := .venv/.installed
MODULES := frontend/node_modules/.installed
PAGE := backend/dp_coordinator/web/static/index.html
PAGE_SOURCES := $(shell find frontend -name node_modules -prune -o -type f -print 2>/dev/null)

.PHONY: help setup install chromium tools demo dev test coverage mutants fuzz torture torture-quick audit test-compose test-vllm test-vllm-quick lint types settings monitoring bench bench-vllm bench-routing build constraints format clean clean-all

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: install chromium tools ## .venv, npm packages, the page, a Chromium for the browser tests, nginx, HAProxy and Prometheus

install: $(INSTALLED) $(PAGE)

$(INSTALLED): pyproject.toml constraints.txt requirements/dev.txt
	@echo "Installing dp-coordinator and its development tools into .venv"
	@python="$$(scripts/find-python)"; [[ -x $(PY) ]] || "$$python" -m venv .venv
	@$(PY) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(PY) -m pip install -qq --disable-pip-version-check --no-build-isolation -c constraints.txt -e '.[dev]'
	@touch $@

$(MODULES): frontend/package.json frontend/package-lock.json | $(INSTALLED)
	@scripts/need-node
	@echo "Installing the dashboard's npm packages"
	@cd frontend && npm ci --no-audit --no-fund
	@touch $@

$(PAGE): $(MODULES) $(PAGE_SOURCES)
	@scripts/need-node
	@echo "Building the dashboard"
	@cd frontend && npm run build
	@touch $@

chromium: $(INSTALLED)
	@scripts/install-chromium

tools:
	@scripts/install-tools

demo: install ## coordinator, engines and front-ends on this machine, with the dashboard on http://127.0.0.1:8080
	@$(BIN)/dp-coordinator demo $(ARGS)

dev: install ## Vite's server, which reloads the page as it changes, on simulated ranks: ARGS="--engines 1024 --fault imbalance"
	@mkdir -p build && touch build/faults
	@echo "Faults can be switched on and off in build/faults, one a line: see python -m tests.browser.fixture --help"
	@$(PY) -m tests.browser.fixture --faults build/faults $(ARGS) & ranks=$$!; trap "kill $$ranks" EXIT; cd frontend && npm run dev

test: setup ## all tests but the compose ones: page, Python, browser (under 10 minutes)
	cd frontend && npm test
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

coverage: setup ## all tests but those in Chromium, and the lines and branches that they reach, of which most must be
	cd frontend && npm run coverage
	rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/coverage run -m pytest -n auto --maxprocesses 4 --dist loadfile \
	  --ignore tests/browser --ignore tests/benchmarks $(ARGS)
	$(BIN)/coverage combine --quiet && rm -f build/coverage/data.*
	$(BIN)/coverage report
	for part in core wire transport client; do \
	  $(BIN)/coverage report --fail-under 95 --include "backend/dp_coordinator/$$part/*" | tail -1; done

mutants: $(INSTALLED) ## whether some test fails whatever line of core, wire or alarms is changed; an hour; ARGS="wire"
	@[[ -x $(BIN)/mutmut ]] || $(PY) -m pip install -qq --disable-pip-version-check -c constraints.txt mutmut
	$(PY) scripts/mutants $(ARGS)

fuzz: install ## any bytes as frames, journals and recordings, and any requests of openapi.json; EXAMPLES=5000 of each
	DP_COORDINATOR_FUZZ_EXAMPLES=$(or $(EXAMPLES),5000) $(BIN)/pytest -n auto --maxprocesses 4 tests/fuzz

torture: install ## a deployment under faults and hostile peers, for an hour: ARGS="--minutes 600 --seed 7"
	$(PY) -m benchmarks.torture --minutes 60 $(ARGS)

torture-quick: install ## a minute of it, for CI
	$(PY) -m benchmarks.torture --minutes 1 $(ARGS)

audit: $(INSTALLED) $(MODULES) ## whether a flaw is known in what is installed; where its sources cannot be reached it says so
	scripts/audit

test-compose: $(INSTALLED) ## bring the compose stack up, check it from outside, take it down (needs a Docker engine)
	$(BIN)/pytest -m compose tests/compose $(ARGS)

test-vllm: $(INSTALLED) $(PAGE) ## real vLLM on this coordinator, in an environment of its own (3.5 GB, made once)
	@home="$$(scripts/vllm-env --ray)"; export DP_COORDINATOR_VLLM_HOME="$$home"; \
	"$$home/env/bin/python" -m pytest -p no:cacheprovider -m vllm tests/vllm/differential $(ARGS); \
	$(BIN)/pytest -m vllm tests/vllm --ignore tests/vllm/differential $(ARGS)

test-vllm-quick: $(INSTALLED) $(PAGE) ## the part of test-vllm that takes four minutes: one version, one API server
	@home="$$(scripts/vllm-env)"; export DP_COORDINATOR_VLLM_HOME="$$home"; \
	"$$home/env/bin/python" -m pytest -p no:cacheprovider -m vllm tests/vllm/differential/test_scripted.py -k installed $(ARGS); \
	$(BIN)/pytest -m vllm tests/vllm/test_real_serving.py -k "one and not two" $(ARGS)

lint: $(INSTALLED) $(MODULES) ## ruff, Biome, the direction of imports, the size of files and functions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(PY) scripts/check-limits
	cd frontend && npx biome check --error-on-warnings .

types: $(INSTALLED) $(MODULES) ## mypy --strict, tsc, and that the page's types are the backend's
	$(BIN)/mypy
	$(BIN)/mypy backend/hatch_build.py
	$(BIN)/mypy benchmarks
	$(BIN)/mypy tests
	$(BIN)/mypy deploy
	cd frontend && npx tsc --noEmit
	@$(PY) -m dp_coordinator.web.api.schema --typescript | diff -u frontend/src/types.gen.ts - \
	  || { echo "frontend/src/types.gen.ts is stale: run 'make types.gen'" >&2; exit 1; }

types.gen: $(INSTALLED) ## write the page's types anew from the backend's messages
	$(PY) -m dp_coordinator.web.api.schema --typescript > frontend/src/types.gen.ts

settings: $(INSTALLED) ## write docs/settings.md anew from the options
	$(PY) -m tests.docs.settings_page

monitoring: $(INSTALLED) ## write the Grafana board and the Prometheus alert rules anew
	$(PY) -m deploy.grafana.board
	$(PY) -m deploy.prometheus.rules

bench: install ## what the README's figures come from
	$(PY) -m benchmarks $(ARGS)

bench-vllm: install ## the same in an environment with real vLLM, and how vLLM starts either; ratios
	home="$$(scripts/vllm-env)"; DP_COORDINATOR_BENCH_VLLM_PYTHON="$$home/env/bin/python" \
	  "$$home/env/bin/python" -m benchmarks --need-vllm $(ARGS)

bench-routing: install tools ## what the agent's weights are worth to HAProxy, before simulated ranks; quarter of an hour
	$(PY) -m benchmarks.routing.haproxy $(ARGS)

build: $(INSTALLED) ## dist/: an sdist, and the wheel made from it; both carry the built page
	@scripts/need-node
	rm -rf dist
	$(PY) -m build --outdir dist .

format: $(INSTALLED) $(MODULES) ## ruff and Biome put the sources in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd frontend && npx biome check --write .

constraints: ## constraints.txt, and requirements with hashes, from the newest versions that pyproject.toml allows
	scripts/lock $(ARGS)

clean: ## remove what was built, and caches
	rm -rf dist build backend/dp_coordinator/web/static .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find backend tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

clean-all: clean ## and .venv and node_modules too
	rm -rf .venv frontend/node_modules
