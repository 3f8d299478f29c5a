# make demo: environment, then the embedded teacher distilled on the embedded data, then the path of the report.
# make test: environment, then everything that proves it works.        make lint: style and types.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
TORCH  := $(shell grep '^torch==' constraints.txt)
DEMO   := runs/demo

.PHONY: env demo test lint clean

env: $(VENV)/.installed

# torch goes first and alone: a pip that finds a CPU build of this version takes it, and nothing later replaces it.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt $(TORCH)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev,moirai,lm]'
	$(BIN)/pip install --quiet -c constraints.txt --no-deps uni2ts  # it pins versions that clash with the rest
	$(BIN)/pip install --quiet -c constraints.txt --no-deps fracast  # the example plug-in's teacher
	touch $@

demo: env
	rm -rf $(DEMO)
	$(BIN)/potstill distill recipes/demo.yaml --output $(DEMO)
	@echo "Report: $(CURDIR)/$(DEMO)/report.html"

# Tests mirror src, so file names repeat: import them by path.
test: env
	$(BIN)/python -m pytest -n 2 --import-mode=importlib

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

clean:
	rm -rf $(VENV) $(DEMO)
