# Two commands for a stranger: `make demo` and `make test`. Both set up everything in .venv first;
# the stamp file makes the second call start at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_OUT ?= segduet-demo

.PHONY: help demo test check install clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo     set up everything and run the main job on generated cases, into $(DEMO_OUT)/'
	@echo 'make test     set up everything, then all checks and all tests'
	@echo 'make check    the checks without the tests: ruff, mypy, import contracts'
	@echo 'make install  only set up .venv'
	@echo 'make clean    remove .venv, caches and segduet-demo/'
	@echo 'PYTHON=python3.12 make ... chooses the interpreter (3.11 or newer).'

# pip works on .venv from outside, so the interpreter needs no ensurepip (Debian ships none).
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'segduet needs Python 3.11 or newer; try PYTHON=python3.11 make ...' >&2; exit 2; }
	$(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m pip --python $(BIN)/python install -c constraints.txt -e '.[train,quantize,scale,dev]'
	@touch $@

install: $(STAMP)

demo: $(STAMP)
	$(BIN)/segduet demo --out $(DEMO_OUT)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# One thread per test process: two processes share two cores. Three runs: a pytest-xdist worker in which NNCF has quantised or
# Ray has run dies now and then without a word, so those tests run without xdist; what loads runtimes runs apart from tests
# that fork and kill.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
SPREAD := -n 2 --dist loadfile --max-worker-restart=0
RUNTIME_TESTS := tests/cli tests/compression tests/contracts tests/inference tests/workflows
LONE_TESTS := tests/compression/test_quantisation.py tests/workflows/test_compression_gate.py \
	tests/scale/test_ray_pool.py tests/scale/test_ray_runner.py tests/workflows/test_ray_prediction.py

test: check
	$(PYTEST) $(SPREAD) tests $(RUNTIME_TESTS:%=--ignore=%) $(LONE_TESTS:%=--ignore=%)
	$(PYTEST) $(SPREAD) $(RUNTIME_TESTS) $(LONE_TESTS:%=--ignore=%)
	$(PYTEST) $(LONE_TESTS)

clean:
	rm -rf $(VENV) segduet-demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
