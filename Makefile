# `make demo` and `make test` are all the set-up there is: each makes .venv and installs into it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Machines that point pip at local wheels say so in PIP_FIND_LINKS, which uv does not read.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif

.PHONY: demo test lint types bench weights clean

demo: $(VENV)/.core
	$(BIN)/python scripts/demo.py

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/scene.py

# The shipped weights again: labels, two trainings, exports, scores; hours on two cores (docs/models.md).
LABELS := --root ../shared/data --split train --flips hflip --least 0.35 --no-cirrus \
	--clouds ukis-csmask --clouds ukis-csmask-4-native
SHIPPED := runs/default/tuned.onnx runs/default/compact.onnx \
	runs/small/small.onnx runs/small/small-int8.onnx
weights: export OMP_NUM_THREADS = 1
weights: $(VENV)/.dev
	$(BIN)/nubila auto-mask recipes/default.csv recipes/default-unlabelled.csv $(LABELS) -o runs/labels
	$(BIN)/nubila train recipes/default.yaml -o runs/default
	$(BIN)/nubila export runs/default -o runs/default/compact.onnx --int8
	$(BIN)/nubila tune runs/default/compact-int8.onnx --data recipes/default.csv \
		--root ../shared/data --trials 25 -o runs/default/tuned.onnx
	$(BIN)/nubila train recipes/small.yaml -o runs/small
	$(BIN)/nubila export runs/small -o runs/small/small.onnx --int8
	$(BIN)/nubila compare $(SHIPPED) --data recipes/default.csv --root ../shared/data \
		--split validation -o runs/shipped
	$(BIN)/python recipes/ship.py runs/shipped/scores.json $(SHIPPED)

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/.core

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
