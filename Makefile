# Each command sets up what it needs: `make train` on a fresh machine needs Python 3.11
# or newer and make, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
AT_ONCE := -n 2 --dist loadfile  # two files of tests at a time

.PHONY: train test test-all lint bench-env bench clean

train: $(VENV)/.installed
	$(BIN)/python main.py --config=configs/unet.py

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q $(AT_ONCE)

test-all: $(VENV)/.installed-dev
	$(BIN)/pip install -q -e '.[fuzz,postgres]'
	$(BIN)/python -m pytest -q $(AT_ONCE) -m ''

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# jax2onnx wants an older Orbax than the project, so peers have their own environment.
bench-env: .venv-bench/.installed

bench: .venv-bench/.installed $(VENV)/.installed
	set -e; for script in train_step profile_step training_loop inference \
		startup growth folds_together network soak time_to_dice; do \
		.venv-bench/bin/python benchmarks/$$script.py; done

.venv-bench/.installed: requirements.txt benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	grep -v orbax requirements.txt > .venv-bench/project.txt
	.venv-bench/bin/pip install -q -r .venv-bench/project.txt -r benchmarks/requirements.txt
	.venv-bench/bin/pip install -q --no-deps -e .
	touch $@

clean:
	rm -rf $(VENV) .venv-bench

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(BIN)/python
	$(BIN)/pip install -q -r requirements.txt
	touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.installed
	$(BIN)/pip install -q -e '.[dev]'
	touch $@
