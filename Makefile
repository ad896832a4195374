# Everything here works on a machine that has only Python and make: what a command needs is installed into .venv
# the first time, and again when pyproject.toml has changed. The settings are given on the command line, as in
#   make train DATA=folder EPOCHS=3        make test PROFILE=nightly        make test PYTHON=python3.12

PYTHON  ?= python3
VENV    := .venv
PY      := $(VENV)/bin/python

# Training: the embedded digits, or the MNIST-format files in the folder DATA.
DATA    :=
EPOCHS  := $(if $(DATA),10,20)
BATCH   := $(if $(DATA),100,50)
# Tests: the hypothesis profile, ci or nightly.
PROFILE := ci
# Whatever else train_mnist.py or pytest should be told.
ARGS    :=

.PHONY: help train test docs lint format types bench clean
.DELETE_ON_ERROR:

help:
	@echo 'make train [DATA=folder] [EPOCHS=n] [BATCH=n] [ARGS="--lr 0.01"]   train on the embedded digits, or on the idx files in DATA'
	@echo 'make test  [PROFILE=ci|nightly] [ARGS="-k name"]                   run the whole test suite'
	@echo 'make docs      run the code of the README and the documents'
	@echo 'make lint      check style and format;  make format mends what it can'
	@echo 'make types     check the types of fgrad'
	@echo 'make bench     run the benchmarks'
	@echo 'make clean     remove .venv, caches and what was built; runs/ is kept'
	@echo 'PYTHON=python3.12 with any of them names the Python that .venv is made with'

train: $(VENV)/.installed-train
	$(PY) docs/tutorials/train_mnist.py $(if $(DATA),--data-dir "$(DATA)") --epochs $(EPOCHS) --batch-size $(BATCH) $(ARGS)

# One thread of BLAS in each test process: there are as many processes as cores already.
test: $(VENV)/.installed-dev
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(PY) -m pytest --numprocesses auto --maxprocesses 8 --hypothesis-profile $(PROFILE) $(ARGS)

docs: $(VENV)/.installed-dev
	$(PY) -m pytest README.md docs $(ARGS)

lint: $(VENV)/.installed-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(VENV)/.installed-dev
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: $(VENV)/.installed-dev
	$(PY) -m mypy

bench: $(VENV)/.installed-dev
	for script in benchmarks/bench_*.py; do echo "== $$script"; $(PY) "$$script" $(ARGS) || exit 1; done

clean:
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# An installation is a stamp inside the environment. dev holds all that train needs, so it counts for both.
$(VENV)/.installed-dev: pyproject.toml
	@$(make-venv)
	$(PY) -m pip install --quiet --editable '.[dev]'
	@touch $(VENV)/.installed-train $@

$(VENV)/.installed-train: pyproject.toml
	@$(make-venv)
	$(PY) -m pip install --quiet --editable '.[train]'
	@touch $@

# Makes the environment unless a whole one is there; where it cannot, stops with the one line that mends it.
define make-venv
$(PY) -m pip --version >/dev/null 2>&1 && exit 0; \
stop() { echo "$$1; this mends it:  $$2" >&2; exit 1; }; \
sudo='sudo '; [ "$$(id -u)" != 0 ] || sudo=; \
if command -v apt-get >/dev/null; then install="$${sudo}apt-get update && $${sudo}apt-get install -y"; else install='install the system package'; fi; \
recent='import sys; sys.exit(sys.version_info < (3, 11))'; \
command -v $(PYTHON) >/dev/null || stop 'There is no $(PYTHON)' "$$install $(notdir $(PYTHON))-venv"; \
if ! $(PYTHON) -c "$$recent" 2>/dev/null; then \
  for newer in python3.14 python3.13 python3.12 python3.11; do \
    ! $$newer -c "$$recent" 2>/dev/null || stop '$(PYTHON) is older than 3.11' "make $(MAKECMDGOALS) PYTHON=$$newer"; \
  done; \
  stop '$(PYTHON) is older than 3.11' "$$install python3.11-venv && make $(MAKECMDGOALS) PYTHON=python3.11"; \
fi; \
said=$$($(PYTHON) -m venv --clear $(VENV) 2>&1) || { \
  rm -rf $(VENV); \
  ! $(PYTHON) -c 'import ensurepip' 2>/dev/null || echo "$$said" >&2; \
  stop '$(PYTHON) -m venv fails' "$$install $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; \
}
endef
