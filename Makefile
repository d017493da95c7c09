# Habits of the project. `make run` and `make test` are the README's two commands.
VENV ?= .venv
PY := $(VENV)/bin/python
CPP := $(wildcard cpp/core/*.[ch]pp cpp/device/*.[ch]pp cpp/bindings/*.[ch]pp cpp/cuda/*.[ch]*)

.PHONY: run test test-real test-probe check format lint types cpp-warnings bench fuzz wheels clean

$(VENV)/.installed: pyproject.toml CMakeLists.txt $(CPP)
	python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade "pip>=25.1"
	$(PY) -m pip install --quiet --editable ".[ptxas]" --config-settings=cmake.define.SHIM_WERROR=ON
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(PY) -m pip install --quiet --group test --group lint --editable ".[nvcc]"
	touch $@

$(VENV)/.benched: $(VENV)/.tested
	$(PY) -m pip install --quiet --group bench
	touch $@

DEMO := bitsandbytes==0.50.2 --platform aarch64 --python 3.12
run: $(VENV)/.installed
	$(PY) -m shim scan $(DEMO)
	$(PY) -m shim patch $(DEMO) -o dist
	$(PY) -m shim verify dist/bitsandbytes-0.50.2-1sm121-*.whl

test: $(VENV)/.tested
	$(PY) -m pytest -n auto -m "not real and not slow"

test-real: $(VENV)/.tested
	$(PY) -m pytest -m "real and not slow"

# Needs torch from the registry (5.5 GB, kept in the virtual environment's folder).
test-probe: $(VENV)/.tested
	SHIM_TEST_CACHE=$(abspath $(VENV)) $(PY) -m pytest tests/e2e/test_flag_probe.py

check: format lint types cpp-warnings test

format: $(VENV)/.tested
	$(VENV)/bin/ruff format --check .

lint: $(VENV)/.tested
	$(VENV)/bin/ruff check .

types: $(VENV)/.tested
	$(VENV)/bin/mypy

# The editable build of .venv already treats warnings of cpp/ as errors; this compiles every header by itself, so
# that one that leans on another shows.
cpp-warnings:
	@for file in cpp/core/*.hpp cpp/device/*.hpp; do \
	  echo "#include \"$$file\"" | $(CXX) -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
	    -I. -Icpp/core -Icpp/device -x c++ - || exit 1; \
	done

bench: $(VENV)/.benched
	$(PY) bench/run.py

fuzz:
	cpp/fuzz/run.sh 600

wheels: $(VENV)/.tested
	$(PY) -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist shim/*.so
