# Every target sets up what it needs; on a fresh machine only Python 3.11+ and make must be there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.coterie-installed

.PHONY: demo test test-unit test-local test-controlplane check format crds proto bench clean

demo: $(STAMP) ## train the digits example in five processes under secure aggregation
	$(BIN)/coterie run examples/digits --output out/digits --overwrite

test: $(STAMP) ## every tier up to the real API server
	$(BIN)/pytest

test-unit: $(STAMP)
	$(BIN)/pytest tests/unit

test-local: $(STAMP)
	$(BIN)/pytest tests/local

test-controlplane: $(STAMP)
	$(BIN)/pytest tests/controlplane

check: $(STAMP) ## format, lint, types, import contracts, freshness of generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -q tests/unit/architecture

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

crds: $(STAMP) ## write crds/*.yaml and the chart's copies from the types
	$(BIN)/python -m coterie_api.v1alpha1.crds crds charts/coterie/files/crds

proto: $(STAMP) ## regenerate the wire format
	$(BIN)/python -m grpc_tools.protoc -I api --python_out=api --pyi_out=api --grpc_python_out=api api/coterie_api/wire/v1/*.proto

bench: $(STAMP) ## print what was measured against each target; exit 1 on a MISS
	$(BIN)/python -m bench

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) out build dist
