# run · test · lint · bench · models · doctor · clean. `make run` needs make, Python 3.11–3.13 and pip, nothing else.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
DOCTOR := platform/switchyard/supervisor/doctor.py
GPU := $(shell nvidia-smi -L >/dev/null 2>&1 && echo 1)
TORCH_INDEX := https://download.pytorch.org/whl/cpu
# Without a GPU torch's small CPU build is enough: its public index, if that answers within three seconds.
TORCH_ARGS ?= $(if $(GPU),,$(shell $(PYTHON) -c "import urllib.request as u; \
	u.urlopen('$(TORCH_INDEX)/torch/', timeout=3)" 2>/dev/null && echo --index-url $(TORCH_INDEX)))
UV := $(shell command -v uv 2>/dev/null)
TEST_ARGS ?=
export PYTHONPATH := $(CURDIR):$(CURDIR)/platform$(if $(PYTHONPATH),:$(PYTHONPATH))
export SWITCHYARD_UPSTREAM_CIDRS ?= 127.0.0.0/8

# Installs a hashed lock; the locks are closures, so nothing else is resolved. uv is quicker, pip always there.
define install
	$(if $(UV),$(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r $(1) ||) \
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r $(1)
endef

.PHONY: run test lint bench models doctor lock clean python

run: python $(VENV)/.stamp-installed
	@exec $(BIN)/python -m switchyard.supervisor.cli run

doctor: python
	@$(PYTHON) $(DOCTOR)

python:
	@if [ -z "$(PYTHON)" ]; then \
	echo "Python 3.11, 3.12 or 3.13 was not found. Install one (Debian: apt install python3 python3-venv; macOS: brew install python@3.11), or name it: make run PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@$(if $(filter run,$(MAKECMDGOALS)),$(PYTHON) $(DOCTOR) --starting,true)

$(VENV)/.stamp-venv:
	@echo "Making $(VENV) with $(PYTHON) …"
	@$(PYTHON) -m venv $(VENV) || { echo "The virtual environment could not be made: see above; on Debian install python3-venv." >&2; exit 1; }
	@touch $@

$(VENV)/.stamp-lock: requirements.lock requirements-gpu.lock | $(VENV)/.stamp-venv
	@echo "Installing the libraries (requirements.lock) …"
	@$(call install,requirements.lock) || { echo "The libraries could not be installed. \`make doctor\` says whether the registry is in reach." >&2; exit 1; }
ifeq ($(GPU),1)
	@$(BIN)/python -m pip uninstall --quiet --yes onnxruntime
	@$(call install,requirements-gpu.lock)
endif
	@touch $@

$(VENV)/.stamp-torch: | $(VENV)/.stamp-lock
	@echo "Installing torch …"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(TORCH_ARGS) 'torch>=2.11,<2.14' || { echo "torch could not be installed. \`make doctor\` says whether the registry is in reach; TORCH_ARGS names another index." >&2; exit 1; }
	@touch $@

$(VENV)/.stamp-installed: $(VENV)/.stamp-lock $(VENV)/.stamp-torch pyproject.toml requirements.in
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.stamp-test: requirements-test.lock $(VENV)/.stamp-installed
	@echo "Installing the tools of the tests (requirements-test.lock) …"
	@$(call install,requirements-test.lock)
	@touch $@

test: python $(VENV)/.stamp-test
	@$(BIN)/python -m pytest -q $(TEST_ARGS)

lint: python $(VENV)/.stamp-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run

# Every benchmark writes bench/results/<name>.json; one of them alone: make bench-gateway.
bench: python $(VENV)/.stamp-test
	@$(BIN)/python -m bench

bench-%: python $(VENV)/.stamp-test
	@$(BIN)/python -m bench $*

models: python $(VENV)/.stamp-test
	@$(BIN)/python -m modelhub.ml.train.all $(if $(TRUNK),--trunk $(TRUNK))

# After a change of requirements*.in: pins what is installed, with hashes (needs uv).
lock: python $(VENV)/.stamp-test
	@$(BIN)/python -m switchyard.supervisor.locks

clean:
	rm -rf $(VENV) var staticfiles .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
