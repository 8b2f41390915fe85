# Lithophone's tasks. `make run` and `make test` set everything up by themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS ?=
# Of the fast tests; each holds torch, and wants a core and 3 GB.
WORKERS ?= 2
# cpu, cuda or rocm; left empty, the build of torch is chosen by what the machine has.
TORCH ?=
PAGE := server/page

.PHONY: run install test test-client test-clients test-live-clients test-mcp test-helm test-prometheus test-gpu test-ray test-slow test-trust audit page page-tools test-page lint format golden train-tiny-smoke clean help

help:            ## list the tasks
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

run: $(VENV)/.installed  ## set up and start the server; ARGS="--port 8123" passes options on, TORCH=cpu|cuda|rocm chooses
	$(BIN)/lithophone serve $(ARGS)

install: $(VENV)/.installed  ## set up alone

test: $(VENV)/.dev-installed  ## set up, lint, type-check and run the fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

test-client:     ## the client in an environment of its own: what comes with it, and its tests there
	PYTHON=$(PYTHON) .ci/test-client $(ARGS)

test-clients: $(VENV)/.installed  ## clients that nobody here wrote, in an environment of their own; writes the README's table
	SERVER=$(abspath $(BIN)/python) PYTHON=$(PYTHON) .ci/test-clients $(ARGS)

test-helm:       ## the Helm chart and the manifests against Kubernetes' schemas, the Containerfile by hadolint
	PYTHON=$(PYTHON) .ci/test-helm $(ARGS)

test-prometheus: $(VENV)/.dev-installed  ## the dashboard and the alerts, with a real Prometheus (3 minutes)
	BIN=$(BIN) .ci/test-prometheus $(ARGS)

test-mcp:        ## the tool for agents, with the official SDK in an environment of its own
	PYTHON=$(PYTHON) .ci/test-mcp $(ARGS)

test-ray:        ## models on a Ray cluster of this machine, in an environment of its own (15 minutes)
	PYTHON=$(PYTHON) .ci/test-ray $(ARGS)

test-gpu: $(VENV)/.dev-installed  ## what holds on this GPU, on one page (6 minutes; keep it in docs/hardware)
	$(BIN)/python -m tests.hardware.gpu $(ARGS)

test-live-clients: $(VENV)/.dev-installed  ## live captions by programs of others (openai-agents, LiveKit)
	VENV=$(VENV) .ci/test-live-clients $(ARGS)

test-slow: $(VENV)/.dev-installed  ## the tests that take minutes
	$(BIN)/python -m pytest -m "slow and not page" --timeout 3600 $(ARGS)

page: $(VENV)/.dev-installed $(PAGE)/node_modules/.package-lock.json  ## build the page into server/lithophone/page
	BIN=$(BIN) .ci/npm run build

page-tools: $(VENV)/.dev-installed $(PAGE)/node_modules/.package-lock.json  ## what the page's tests need: npm's packages, Chromium
	BIN=$(BIN) .ci/test-page tools

test-page: page-tools  ## the page's tests: its parts, and its story in Chromium
	BIN=$(BIN) .ci/test-page $(ARGS)

lint: $(VENV)/.dev-installed  ## ruff and pyright alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.dev-installed  ## rewrite the sources in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

golden: $(VENV)/.dev-installed  ## renew the golden files after a wanted change of a format
	$(BIN)/python -m pytest tests/http --update-golden

audit: $(VENV)/.installed  ## advisories where reachable, suspicious code, licences
	VENV=$(VENV) .ci/audit

test-fuzz: $(VENV)/.dev-installed  ## 20,000 requests made up from the description, by schemathesis in an environment of its own (40 minutes)
	SERVER=$(abspath $(BIN)/python) PYTHON=$(PYTHON) .ci/test-fuzz $(ARGS)

test-trust: $(VENV)/.dev-installed  ## load, trickle, idle, overload, bad media, chaos, soak; ARGS="chaos" or ARGS="soak --minutes 30"
	$(BIN)/python -m tests.trust $(ARGS)

train-tiny-smoke: $(VENV)/.dev-installed  ## two minutes of the recipe of the embedded checkpoint
	$(BIN)/python -m examples.train_tiny smoke

clean:           ## remove the environment
	rm -rf $(VENV) .clients

# torch comes first and alone, so that its pinned build is there before anything else could ask for a newer one.
$(VENV)/.installed: pyproject.toml constraints.txt clients/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lithophone needs Python 3.11 or newer; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing torch and the rest (a few minutes, once) ..."
	$(BIN)/python server/lithophone/torch_builds.py $(TORCH)
	$(PIP) install --constraint constraints.txt --editable '.[wyoming]' --editable clients
	@touch $@

$(VENV)/.dev-installed: $(VENV)/.installed
	$(PIP) install --constraint constraints.txt --editable '.[dev]' --editable clients
	@touch $@

$(PAGE)/node_modules/.package-lock.json: $(PAGE)/package-lock.json $(VENV)/.dev-installed
	BIN=$(BIN) .ci/npm ci --no-audit --no-fund
	@touch $@
