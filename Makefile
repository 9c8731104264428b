# make serve    the service on http://127.0.0.1:8000
# make test     all tests
# make train    trains by a recipe: DATA=folder of the sources, RUN=folder for its state and logs
# make chaos    every promise under fuzz, overload, faults and restarts, in under ten minutes
# make soak     half an hour of steady load
# make bench    speed against the bare engine, a naive service and others' libraries: ARGS='--data DIR'
# make docker-check  builds the image and shows it working on this machine's Docker engine
# make lint     formatting, lints and types, as CI checks them

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Passed to pip; for example --extra-index-url with an index of CPU-only PyTorch builds.
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(PIP_ARGS)
RECIPE ?= training/recipes/lwbafa-300w68-cpu.toml
RUN ?= runs/$(notdir $(basename $(RECIPE)))
# glibc's allocator spends half the time of a CPU's training step on page faults.
TCMALLOC := $(firstword $(wildcard /usr/lib/*/libtcmalloc_minimal.so.4))
DETECTORS := model_store/centerface/centerface.onnx model_store/yunet/yunet.onnx

.PHONY: serve test train lint setup bench chaos soak docker-check docker-lock clean

serve: setup
	exec $(BIN)/python -m app

setup: $(VENV)/installed $(DETECTORS)

# Three files at a time, since tests mostly wait for the services they start; PyTorch's threads would only
# wait for each other.
test: $(VENV)/installed-dev $(DETECTORS)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 3 --dist loadfile

train: $(VENV)/installed-dev
	LD_PRELOAD=$(TCMALLOC) $(BIN)/python -m training train --recipe $(RECIPE) --run $(RUN) \
		--data $(or $(DATA),$(error DATA names the folder that holds the recipe's sources)) $(ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/installed-dev $(DETECTORS)
	$(BIN)/python -m bench $(ARGS)

chaos: $(VENV)/installed-dev $(DETECTORS)
	$(BIN)/python -m proof.promises

soak: $(VENV)/installed-dev $(DETECTORS)
	$(BIN)/python -m proof.promises --only soak

# DOCKER_BUILD_ARGS are for `docker build`; for example --build-arg BASE_IMAGE=...
docker-check: $(VENV)/installed-dev
	$(BIN)/python -m proof.container $(ARGS)

# What the images install, with hashes.
docker-lock: $(VENV)/installed
	$(PIP) uv
	PATH=$(CURDIR)/$(BIN):$$PATH docker/lock

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "venv is missing: apt install python3-venv"; exit 1; }

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what the service needs (once)"
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "installing what the tests need (once)"
	$(PIP) --editable '.[dev]'
	@touch $@

$(DETECTORS): $(VENV)/installed
	$(BIN)/python -m model_store.fetch_detectors
	@touch $(DETECTORS)

clean:
	rm -rf $(VENV) .venv-rivals $(dir $(DETECTORS))
