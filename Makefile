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

# The shipped weights again: labels, three trainings, exports, scores; an hour on two idle cores, and what
# is there already is not done anew (docs/models.md). An 8-bit file is kept whatever the clock says of
# it on a busy machine; ship.py looks at its score.
LABELS := recipes/default.csv recipes/default-unlabelled.csv --root ../shared/data --split train \
	--clouds ukis-csmask --clouds ukis-csmask-4-native --flips hflip --no-cirrus
SHIPPED := runs/default/tuned.onnx runs/default/compact.onnx \
	runs/small/small.onnx runs/small/small-int8.onnx
weights: export OMP_NUM_THREADS = 2
weights: $(VENV)/.dev
	$(BIN)/nubila auto-mask $(LABELS) --least 0.1 -o runs/labels-sure
	$(BIN)/nubila auto-mask $(LABELS) --least 0.35 -o runs/labels
	$(BIN)/nubila train recipes/default-first.yaml -o runs/default-first
	$(BIN)/nubila train recipes/default.yaml -o runs/default
	$(BIN)/nubila export runs/default -o runs/default/compact.onnx --int8 --force
	$(BIN)/nubila tune runs/default/compact-int8.onnx --data recipes/default.csv \
		--root ../shared/data --trials 25 -o runs/default/tuned.onnx
	$(BIN)/nubila train recipes/small.yaml -o runs/small
	$(BIN)/nubila export runs/small -o runs/small/small.onnx --int8 --force
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
