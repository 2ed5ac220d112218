# make demo      the whole way on real images, from pretrained weights to a verified file
# make test      lint, then tests of every module and every model, but the slow ones
# make test-slow the tests that `make test` skips; each states the reason in its mark
# make test-all  both
# make random-nets  exports 500 random nets and compares the files with Keras; takes about 20 minutes
# make test-arm  the folder for a board on an emulated ARM processor; fetches QEMU and Python for arm64 into .arm/ first
# make bench     speed beside PyTorch's, scikit-learn's and Keras': training, nearest neighbor, import, export, exported files
# make docs      the documentation as a site in build/site; its images are drawn from the shipped weights
# make models    writes the tables of models in README.md and docs/models.md from the cards

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
DEVELOP := .venv/installed-dev
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable
PYTEST := $(BIN)/python -m pytest --numprocesses=2 --dist=loadscope --no-loadscope-reorder

.PHONY: demo lint test test-slow test-all random-nets test-arm bench docs models
.DEFAULT_GOAL := demo

$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(PIP) .
	touch $@

$(DEVELOP): $(INSTALLED)
	$(PIP) '.[dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/python docs/demo.py

lint: $(DEVELOP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: lint
	$(PYTEST) -m 'not slow'

test-slow: $(DEVELOP)
	$(PYTEST) -m slow

test-all: lint
	$(PYTEST)

random-nets: $(DEVELOP)
	$(BIN)/python tests/random_nets.py --first 0 --number 500

test-arm: $(DEVELOP)
	$(BIN)/python tests/arm/debian_arm.py
	$(BIN)/python -m pytest --verbose --override-ini=pythonpath=tests/arm tests/arm/emulated_board.py

bench: $(DEVELOP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[torch]'
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/nearest_neighbor.py
	$(BIN)/python benchmarks/alexnet.py
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/onnx_latency.py

docs: $(INSTALLED)
	$(PIP) '.[docs]'
	$(BIN)/python docs/images.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

models: $(INSTALLED)
	$(BIN)/python docs/models.py
