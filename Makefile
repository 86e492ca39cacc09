# Short targets for people and machines; `make` alone lists them. Needs Python 3.11 to 3.13 and nothing of ours.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Arguments of the command behind a target: make demo ARGS="--report /tmp/tour.html"
ARGS ?=
# Processes that run tests side by side; most of them wait for servers.
WORKERS ?= 2

# The first Python that is new enough and can make a virtual environment.
IS_FIT := -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	"$$python" $(IS_FIT) && command -v "$$python" && break; done)
BUF := npx --yes @bufbuild/buf@1.75.0

# What an editable install is made from: where one of these changes, the next target installs again, stubs included.
SOURCES := pyproject.toml protos/build_hook.py $(wildcard protos/sensorium/*/*.proto)
# One stamp for each set of packages in the one environment; the larger sets hold the smaller.
RUN := $(VENV)/.installed-all
DEV := $(VENV)/.installed-dev
TRAIN := $(VENV)/.installed-train
BENCH := $(VENV)/.installed-bench
LINT_K8S := build/lint-k8s
TOOLS := build/tools
SERVICES := text vision audio fusion orchestrator
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
ENGINE ?= $(shell command -v docker || command -v podman)

.PHONY: help demo up test test-kserve test-clients client-protos lint types proto lint-proto breaking tag-contract contract lint-k8s faults soak overload bench data train train-smoke clean

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do \
		printf '%-20s %s\n' "$$target" "$$text"; done

demo: $(RUN) ## Start the mesh, take the tour, write demo/report.html, stop: some seconds, and minutes the first time for what it installs
	$(BIN)/sensorium demo $(ARGS)

up: $(RUN) ## Start the mesh and leave it running until Ctrl-C
	$(BIN)/sensorium up $(ARGS)

test: lint types build/tritonclient/.installed ## Lint, check types and run the tests
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

lint: $(DEV) ## Check style, format and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(DEV) ## Check types
	$(BIN)/mypy

proto: $(RUN) ## Generate the Python stubs from protos/
	$(PIP) install --no-deps --editable .

lint-proto: $(RUN) ## Check the protos with buf (needs npm)
	rm -rf build/protos && mkdir -p build/protos/google/rpc
	cd $(VENV)/lib/python3*/site-packages/google/rpc && cp status.proto error_details.proto code.proto "$(CURDIR)/build/protos/google/rpc"
	$(BUF) lint protos
	$(BUF) format --diff --exit-code protos

breaking: $(RUN) lint-proto ## Hold the protos against the last tagged contract (needs npm)
	$(BUF) build protos --exclude-source-info --output build/contract.binpb
	$(BIN)/python protos/imports.py protos/tagged.binpb build/contract.binpb build/tagged.binpb
	$(BUF) breaking protos --against build/tagged.binpb --exclude-imports

tag-contract: lint-proto ## Make the protos of now the contract that later ones are held against (needs npm)
	$(BUF) build protos --exclude-imports --exclude-source-info --output protos/tagged.binpb

contract: $(DEV) ## Write docs/contract.md from the comments of the protos
	$(BIN)/python protos/contract.py

lint-k8s: $(LINT_K8S)/.installed ## Render the overlays of k8s/; check them against schemas and policies (needs npm)
	PATH="$(CURDIR)/$(LINT_K8S)/bin:$$PATH" k8s/lint/lint.sh build/k8s

faults: $(DEV) ## Kill, hang and stop each service under 30 s of load (12 minutes); writes build/faults.md
	mkdir -p build && SENSORIUM_FAULT_S=30 SENSORIUM_FAULT_REPORT=build/faults.md $(BIN)/python -m pytest tests/faults $(ARGS)

soak: $(DEV) ## Run a mesh at 80 % of its capacity for 10 minutes and watch its memory; ARGS="--seconds 60"
	$(BIN)/python -m tests.faults.soak $(ARGS)

overload: $(DEV) ## Send a mesh four times as many calls as it can answer; ARGS="--times 2"
	$(BIN)/python -m tests.faults.overload $(ARGS)

lint-images: $(TOOLS)/.installed $(LINT_K8S)/.installed ## Check the Dockerfile with hadolint and checkov
	$(TOOLS)/bin/hadolint Dockerfile
	$(LINT_K8S)/bin/checkov --framework dockerfile --skip-download --compact --quiet --file Dockerfile

images: ## Build the five images, tagged with the version of pyproject.toml, with ENGINE=docker or podman
	for service in $(SERVICES); do \
		$(ENGINE) build --build-arg SERVICE=$$service --tag sensorium-$$service:$(VERSION) $(ARGS) . || exit; done

sbom: ## Write the bill of materials of each image as build/sbom/SERVICE.cdx.json
	mkdir -p build/sbom
	for service in $(SERVICES); do \
		$(ENGINE) run --rm --interactive --network none --entrypoint python sensorium-$$service:$(VERSION) -P - \
			< requirements/sbom.py > build/sbom/$$service.cdx.json || exit; done

test-images: $(DEV) $(LINT_K8S)/.installed $(TOOLS)/.installed ## Build the images offline, run and kill them, as containers and as pods (root)
	tests/deploy/images.sh

lock: $(TOOLS)/.installed ## Write requirements/*.txt anew: every package of the images, with hashes
	PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" requirements/lock.sh

audit: $(TOOLS)/.installed ## Look for known vulnerabilities in what the images install; ARGS=--required where unknown is not enough
	PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" "$(PYTHON)" requirements/audit.py $(ARGS)

client-protos: $(RUN) ## Lay all protos that other languages generate from into OUT=build/client-protos
	clients/protos.sh $(or $(OUT),build/client-protos)

test-kserve: $(DEV) build/kserve/.installed ## Ask a mesh with KServe's own client (450 MB of packages)
	$(BIN)/python -m pytest tests/open_inference/test_kserve.py $(ARGS)

test-clients: $(DEV) ## Build the client of each language and hold it to the cases of clients/conformance; ARGS="--only node,go"
	$(BIN)/python -m clients.conformance $(ARGS)

bench: $(BENCH) ## Time our services and their peers against bare onnxruntime; ARGS=--quick takes 3 minutes
	$(BIN)/python -m bench $(ARGS)

data: $(TRAIN) ## Fetch the data sets that training learns from, into DATA=data
	$(BIN)/python -m training.fetch --data $(or $(DATA),data)

train: DATA ?= data
train: $(TRAIN) ## Train the shipped models from DATA=data (needs espeak-ng; see training/)
	$(BIN)/python -m training --data $(DATA) $(ARGS)

train-smoke: $(TRAIN) ## Walk through every step of training in under two minutes; keeps nothing. DATA is optional
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(BIN)/python -m training --smoke \
		$(if $(DATA),--data $(DATA)) --out "$$folder/models" --runs "$$folder/runs" $(ARGS)

clean: ## Remove the environment, the generated stubs and all caches
	rm -rf $(VENV) build dist demo/report.html clients/python/sensorium/v1 clients/python/sensorium/oip
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp, because a half-made environment has a python too.
$(VENV)/.created:
	@"$(PYTHON)" $(IS_FIT) || { echo >&2 "$(if $(PYTHON),$(PYTHON) will not do,No python is fit): Sensorium needs Python 3.11, 3.12 or 3.13 with" \
		"venv. Install one (Debian, Ubuntu: apt install python3-venv) or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	touch $@

$(RUN): $(VENV)/.created $(SOURCES)
	$(PIP) install --editable '.[models]'
	touch $@

$(DEV): $(VENV)/.created $(SOURCES)
	$(PIP) install --editable '.[dev]'
	touch $(RUN) $@

$(TRAIN): $(VENV)/.created $(SOURCES)
	$(PIP) install --editable '.[train]'
	touch $(RUN) $@

$(BENCH): $(VENV)/.created $(SOURCES)
	$(PIP) install --editable '.[bench]'
	touch $(RUN) $@

$(TOOLS)/.installed: requirements/tools.txt
	"$(PYTHON)" -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes --requirement requirements/tools.txt
	touch $@

# Clients of the Open Inference Protocol that are not ours, each in an environment of its own.
build/tritonclient/.installed build/kserve/.installed: build/%/.installed: tests/open_inference/%.txt
	"$(PYTHON)" -m venv build/$*
	build/$*/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<
	touch $@

$(LINT_K8S)/.installed: k8s/lint/requirements.txt k8s/lint/kubectl.sh
	"$(PYTHON)" -m venv $(LINT_K8S)
	$(LINT_K8S)/bin/python -m pip --disable-pip-version-check install --quiet --requirement k8s/lint/requirements.txt
	k8s/lint/kubectl.sh $(LINT_K8S)/bin
	touch $@
