# make demo: the embedded teacher distilled on the embedded data, then the path of the report.
# make test: all tests.    make lint: style, spelling and types.    make env: installs what these two need.
# Each builds its environment in .venv if it is missing or older than pyproject.toml.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
TORCH  := $(shell grep '^torch==' constraints.txt)
DEMO   := runs/demo

.PHONY: env demo test lint smoke lowest clean

env: $(VENV)/.installed-dev

# torch goes first and alone: a pip that finds a CPU build of this version takes it, and nothing later replaces it.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH)
	$(PIP) -e .
	touch $@

# the client of S3, a server for its tests, and what only these two need
S3 := s3fs aiobotocore aioitertools botocore jmespath moto boto3 s3transfer responses xmltodict cryptography cffi \
      pycparser py-partiql-parser flask flask-cors blinker itsdangerous

# uni2ts and the client of S3 (multidict, python-dateutil) pin versions that clash with the rest; fracast is the example
# plug-in's teacher
$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[dev,adapters,export,moirai,lm,ray]'
	$(PIP) --no-deps uni2ts fracast $(S3)
	touch $@

demo: $(VENV)/.installed
	rm -rf $(DEMO)
	$(BIN)/potstill distill recipes/demo.yaml --output $(DEMO)
	@echo "Report: $(CURDIR)/$(DEMO)/report.html"

# Tests mirror src, so file names repeat: import them by path.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --import-mode=importlib

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/typos
	$(BIN)/pyright --pythonpath $(BIN)/python

# the wheels in environments of their own, with the constraints' versions and with the lowest that pyproject.toml allows
smoke: $(VENV)/.installed-dev
	$(BIN)/python tools/wheel_smoke.py
	$(BIN)/python tools/runtime_smoke.py

lowest: $(VENV)/.installed-dev
	$(BIN)/python tools/wheel_smoke.py --versions lowest

clean:
	rm -rf $(VENV) $(DEMO)
