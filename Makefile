# All commands for working on the project. A machine needs Python 3.11 or newer and make; with npm it can also run the
# checks of the contract (buf) and of the Node client, and with protoc generate clients; CI demands all of it.

.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# The first Python that is new enough.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

# The tools that make generated/: pinned, and in an environment of their own, since what they make must not depend on
# what else is installed. Their version is the oldest grpcio and protobuf that the generated code runs on.
CODEGEN := .cache/codegen
CODEGEN_TOOLS := grpcio-tools==1.76.0 mypy-protobuf==5.1.0 setuptools==80.9.0

# The tools that make a release, which depend on nothing of the project.
RELEASE := .cache/release
RELEASE_TOOLS := build==1.6.1 twine==7.0.0

# The tools that build the site. The script that draws its diagrams is of npm: the site loads nothing from other hosts.
SITE := .cache/site
SITE_TOOLS := zensical==0.0.73 pymdown-extensions==13.1.2 markdown==3.11.3
SITE_DIAGRAMS := @mermaid-js/tiny@12.0.0
SITE_BUILD := .cache/site-build

NODE := tests/integration/node
BUF := $(NODE)/node_modules/.bin/buf
NPM := $(shell command -v npm 2>/dev/null)

.PHONY: help
help: ## Show this list.
	@grep -E '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /\1|/' | \
		awk -F '|' '{ printf "  make %-18s %s\n", $$1, $$2 }'

.PHONY: demo
demo: $(VENV)/.ready ## Show the gateway at work: start it, run a flow over gRPC and JSON-RPC, stop.
	@$(BIN)/python examples/demo.py

.PHONY: serve
serve: $(VENV)/.ready ## Start the gateway on its default addresses, with the components of examples/; Ctrl-C stops it.
	@exec $(BIN)/runs-gateway serve --component /demo="$(BIN)/python examples/components_server.py"

.PHONY: test
test: lint types check-generated contract unit ## Check everything: format, lint, types, code, contract, tests. COVERAGE=1 as in CI.

# Released software that the tests run: they would set it up themselves, but then all of them wait for it.
.PHONY: environments
environments: $(VENV)/.ready $(if $(NPM),$(BUF))
	@$(BIN)/python -m tests.support.set_up $(if $(filter quick test-pythons,$(MAKECMDGOALS)),quick)

# How properties are tested: `fixed`, the same examples each time, or `explore`, others each time and more of them.
HYPOTHESIS := fixed
# Tests wait half of their time, so there are two processes for each processor.
PROCESSES = -n $(shell $(BIN)/python -c 'import os; print(2 * len(os.sched_getaffinity(0)))') --dist worksteal
PYTEST = $(BIN)/python -m pytest -q $(PROCESSES) \
	--hypothesis-profile=$(HYPOTHESIS) $(if $(filter explore,$(HYPOTHESIS)),--timeout=600)

# CI measures what the tests cover. It takes longer: each process that a test starts loads coverage first.
COVERAGE := $(CI)

.PHONY: unit
unit: environments
	$(PYTEST) $(if $(COVERAGE),--cov)

.PHONY: quick
quick: environments ## Run the tests but for the slow ones, which need engines. HYPOTHESIS=explore for more examples.
	$(PYTEST) -m "not slow"

.PHONY: test-pythons
test-pythons: environments ## Run the quick tests on each Python that is there, and with the oldest dependencies.
	@$(BIN)/python -m tests.support.pythons -- $(PROCESSES)

.PHONY: lint
lint: $(VENV)/.ready ## Check format and lint rules.
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .

.PHONY: format
format: $(VENV)/.ready ## Format the code and mend what the linter can.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: types
types: $(VENV)/.ready ## Check types, strictly.
	$(BIN)/mypy

.PHONY: generate
generate: $(CODEGEN)/.ready contract-reference ## Make generated/ and docs/contract.md from protos/.
	rm -rf generated
	$(call generate_into,generated)

.PHONY: check-generated
check-generated: $(CODEGEN)/.ready ## Check that generated/ is what `make generate` makes.
	@rm -rf .cache/generated
	@$(call generate_into,.cache/generated)
	diff -r -x __pycache__ generated .cache/generated

.PHONY: contract
contract: ## Check the contract: its style, and that it breaks no released client. Needs npm.
ifneq ($(NPM),)
	@$(MAKE) --silent $(BUF)
	$(BUF) lint
	$(BUF) breaking --against protos/released.binpb
else ifeq ($(CI),)
	@echo "npm was not found: the contract is not checked with buf here (CI does it)"
else
	$(error npm was not found, and CI needs it to check the contract)
endif

.PHONY: release-contract
release-contract: $(BUF) ## Make the present contract the one that later ones must not break.
	$(BUF) build --exclude-source-info --path protos/runs --output protos/released.binpb

.PHONY: blocking-client
blocking-client: $(VENV)/.ready ## Make the blocking client from the asynchronous one.
	@$(BIN)/python -m tests.support.blocking_client

.PHONY: clients
clients: $(VENV)/.ready ## Build the clients in other languages, those whose tools the machine has, below .cache/clients.
	@$(BIN)/python -m tests.support.client_languages $(ONLY)

.PHONY: engines-table
engines-table: $(VENV)/.ready ## Write the table of differences into docs/engines.md.
	@$(BIN)/python -m tests.conformance.differences

.PHONY: abilities-table
abilities-table: $(VENV)/.ready ## Write the table of what runtimes can do with runs into docs/engines.md.
	@$(BIN)/python -m tests.conformance.abilities

.PHONY: settings-tables
settings-tables: $(VENV)/.ready ## Write the tables of settings into docs/settings.md and docs/engines.md.
	@$(BIN)/python -m tests.support.settings_tables

.PHONY: contract-reference
contract-reference: $(VENV)/.ready $(CODEGEN)/.ready
	@$(BIN)/python -m tests.support.contract_reference

.PHONY: jsonrpc-reference
jsonrpc-reference: $(VENV)/.ready ## Make docs/json-rpc.md from the models.
	@$(BIN)/python -m tests.support.jsonrpc_reference

.PHONY: errors-table
errors-table: $(VENV)/.ready ## Write the tables of errors into docs/errors.md.
	@$(BIN)/python -m tests.support.errors_table

.PHONY: manifests
manifests: $(VENV)/.ready ## Write deploy/kubernetes/ from the chart of deploy/helm.
	@PYTHONPATH=.:generated $(BIN)/python -m tests.support.helm_chart

.PHONY: screenshots
screenshots: $(VENV)/.ready ## Make the pictures of the live page in docs/images/, in the browser that the machine has.
	@PYTHONPATH=.:generated $(BIN)/python -m tests.support.screenshots

.PHONY: temporal-histories
temporal-histories: $(VENV)/.ready ## Record what workflows on Temporal do in this release, for later ones to replay.
	@PYTHONPATH=.:generated $(BIN)/python -m tests.support.record_histories

.PHONY: metrics-table
metrics-table: $(VENV)/.ready ## Write the tables of metrics into docs/metrics.md.
	@$(BIN)/python -m tests.support.metrics_table

# The fuzzer guided by coverage is not to be had for every Python and machine; Hypothesis then looks alone.
SECONDS := 20

.PHONY: fuzz
fuzz: $(VENV)/.fuzz ## Look for inputs that break an invariant. SECONDS=600 TARGET=flows for longer, and for one target.
	@PYTHONPATH=.:generated $(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(addprefix --target ,$(TARGET))

$(VENV)/.fuzz: $(VENV)/.ready
	@$(BIN)/python $(PIP_INSTALL) --editable '.[fuzz]' 2>/dev/null || \
		echo "atheris cannot be installed here: Hypothesis looks for failures alone"
	@touch $@

# The load clients are native: a client in Python would be the bottleneck. Two idle cores, about 20 minutes.
BENCHMARKS := .cache/benchmarks
BENCH_TOOLS := gcc pkg-config h2load

.PHONY: bench
bench: $(VENV)/.ready bench-tools $(BENCHMARKS)/follow $(BENCHMARKS)/poll ## Measure, and write docs/benchmarks.md. BENCH="--quick" for options.
	@PYTHONPATH=.:generated $(BIN)/python -m benchmarks.run $(BENCH)

.PHONY: abuse
abuse: $(VENV)/.ready ## Attack a running gateway for ten minutes, and write docs/limits.md. ABUSE="--only NAME" for options.
	@PYTHONPATH=.:generated $(BIN)/python -m benchmarks.abuse.run $(ABUSE)

.PHONY: bench-tools
bench-tools:
	@for tool in $(BENCH_TOOLS); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
		pkg-config --exists libnghttp2 2>/dev/null || missing="$$missing libnghttp2"; \
		test -z "$$missing" || { echo "not found:$$missing. On Debian: apt install gcc pkg-config libnghttp2-dev nghttp2-client" >&2; exit 1; }

$(BENCHMARKS)/%: benchmarks/load/%.c benchmarks/load/measure.h
	@mkdir -p $(BENCHMARKS)
	$(CC) -O2 -Wall -Wextra -Werror -D_GNU_SOURCE $$(pkg-config --cflags libnghttp2) -o $@ $< $$(pkg-config --libs libnghttp2)

.PHONY: release
release: $(RELEASE)/.ready ## Build the sdist and the wheel into dist/, check them, and run the demo from each.
	@rm -rf dist
	@echo "building dist/ ..."
	@$(RELEASE)/bin/python -W error -m build --outdir dist >$(RELEASE)/build.log 2>&1 || { cat $(RELEASE)/build.log; exit 1; }
	$(RELEASE)/bin/twine check --strict dist/*
	$(RELEASE)/bin/python -m tests.release.check dist

.PHONY: site
site: $(VENV)/.ready $(SITE)/.ready ## Build the site into .cache/site-build/site, without a warning, and check its links.
	@$(BIN)/python -m tests.support.site_pages $(SITE_BUILD)
	@cp $(SITE)/package/dist/mermaid.tiny.js $(SITE_BUILD)/docs/site/mermaid.js
	cd $(SITE_BUILD) && $(abspath $(SITE))/bin/zensical build --strict
	@$(BIN)/python -m tests.support.site_check $(SITE_BUILD)/site

.PHONY: clean
clean: ## Remove everything that make has set up or made.
	rm -rf .venv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache dist $(NODE)/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.ready: pyproject.toml | python
	@echo "setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(PIP_INSTALL) --editable '.[dev]'
	@touch $@

$(CODEGEN)/.ready: Makefile | python
	@echo "setting up $(CODEGEN) ..."
	@$(PYTHON) -m venv --clear $(CODEGEN)
	@$(CODEGEN)/bin/python $(PIP_INSTALL) $(CODEGEN_TOOLS)
	@touch $@

$(RELEASE)/.ready: Makefile | python
	@echo "setting up $(RELEASE) ..."
	@$(PYTHON) -m venv --clear $(RELEASE)
	@$(RELEASE)/bin/python $(PIP_INSTALL) $(RELEASE_TOOLS)
	@touch $@

$(SITE)/.ready: Makefile | python
	@test -n "$(NPM)" || { echo "the site needs npm, which was not found" >&2; exit 1; }
	@echo "setting up $(SITE) ..."
	@$(PYTHON) -m venv --clear $(SITE)
	@$(SITE)/bin/python $(PIP_INSTALL) $(SITE_TOOLS)
	@cd $(SITE) && tar -xzf "$$(npm pack --silent $(SITE_DIAGRAMS))"
	@touch $@

$(BUF): $(NODE)/package.json
	@echo "setting up $(NODE)/node_modules ..."
	@npm install --prefix $(NODE) --no-package-lock --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: python
python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON to it: make PYTHON=/path/to/python3" >&2; exit 1; }

define generate_into
mkdir -p $(1) && PATH="$(CODEGEN)/bin:$$PATH" $(CODEGEN)/bin/python -m grpc_tools.protoc -I protos \
	--python_out=$(1) --grpc_python_out=$(1) --mypy_out=quiet:$(1) --mypy_grpc_out=quiet:$(1) protos/*/v1/*.proto && \
	touch $(1)/runs/py.typed $(1)/stepflow/py.typed
endef
