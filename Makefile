# Every target sets up what it needs; on a fresh machine only Python 3.11+ and make must be there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.coterie-installed

.PHONY: chart-docs cluster cluster-down dashboards demo images test test-unit test-local test-controlplane test-e2e test-slow fuzz check format crds proto bench bench-cluster bench-secagg clean

demo: $(STAMP) ## train the digits example in five processes under secure aggregation
	$(BIN)/coterie run examples/digits --output out/digits --overwrite

test: $(STAMP) tools ## every tier up to the real API server
	$(BIN)/pytest --ignore=tests/e2e

test-e2e: $(STAMP) ## as root: a real node with kubelet and containerd, images, Helm, Prometheus
	$(BIN)/pytest tests/e2e

test-unit: $(STAMP)
	$(BIN)/pytest tests/unit

test-local: $(STAMP)
	$(BIN)/pytest tests/local

test-controlplane: $(STAMP) tools
	$(BIN)/pytest tests/controlplane

test-slow: $(STAMP) ## a thousand clients in one process, and whatever else takes minutes
	COTERIE_SLOW=1 $(BIN)/pytest -m slow tests/unit

FUZZ_SECONDS ?= 120
fuzz: $(STAMP) ## fuzz what clients and aggregators decode, and their state machines, FUZZ_SECONDS each
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[fuzz]'
	for target in decode quantize client server network graph-client graph-network plain-network layout tensors frames; do $(BIN)/python -m tests.fuzz $$target -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 || exit 1; done

tools: $(STAMP) ## build what the tests of a real API server need, once; without it they are skipped, which CI doesn't allow
	-$(BIN)/python -m tests.cluster.binaries

cluster: $(STAMP) ## as root: a Kubernetes cluster of one node on this machine, with Coterie's images; again: what has ended starts again
	$(BIN)/python -m tests.cluster up

cluster-down: $(STAMP) ## as root: end that cluster and remove all that it made
	$(BIN)/python -m tests.cluster down

check: $(STAMP) ## format, lint, types, import contracts, freshness of generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -q tests/unit/architecture

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

crds: $(STAMP) ## write crds/*.yaml, the chart's copies and docs/api.md from the types
	$(BIN)/python -m coterie_api.v1alpha1.crds crds charts/coterie/files/crds
	$(BIN)/python -m coterie_api.v1alpha1.reference docs/api.md

chart-docs: $(STAMP) tools ## write the chart's README and its renders from values.yaml, ci/ and the templates
	$(BIN)/python -m tests.cluster.chartfiles

dashboards: $(STAMP) ## write the reference of metrics, the rules and the dashboards
	$(BIN)/python -m monitoring

.PHONY: previews
previews: $(STAMP) ## draw docs/pictures/dashboard-*.svg from real jobs; needs prometheus
	$(BIN)/python -m monitoring.pictures

proto: $(STAMP) ## regenerate the wire format
	$(BIN)/python -m grpc_tools.protoc -I api --python_out=api --pyi_out=api --grpc_python_out=api api/coterie_api/wire/v1/*.proto

bench: $(STAMP) ## print what was measured against each target; exit 1 on a MISS
	$(BIN)/python -m bench

bench-secagg: $(STAMP) ## secure aggregation in one process, against its bounds and against Flower's primitives
	$(BIN)/python -m bench.secagg

bench-cluster: $(STAMP) ## as root: what a federation costs on a real node
	$(BIN)/python -m bench.cluster

# The first of docker, podman and buildah that works here, unless BUILDER names one.
BUILDER ?=
REGISTRY ?= ghcr.io/coterie
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

images: ## build the operator's and the worker's image; BUILDER=buildah REGISTRY=registry.example/coterie IMAGE_ARGS='--build-arg …'
	@builder='$(BUILDER)'; \
	for each in docker podman buildah; do [ -n "$$builder" ] || ! $$each info >/dev/null 2>&1 || builder=$$each; done; \
	[ -n "$$builder" ] || { echo 'make images: none of docker, podman and buildah works here; name another with BUILDER=…' >&2; exit 1; }; \
	revision=$$(git rev-parse HEAD 2>/dev/null || echo unknown); \
	for target in operator worker; do \
	  echo "$$builder: $(REGISTRY)/$$target:$(VERSION)"; \
	  DOCKER_BUILDKIT=1 BUILDAH_LAYERS=true $$builder build --target $$target --tag $(REGISTRY)/$$target:$(VERSION) \
	    --build-arg VERSION=$(VERSION) --build-arg REVISION=$$revision $(IMAGE_ARGS) . || exit 1; \
	done

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) out build dist
