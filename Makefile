# make demo      the whole way on real pictures, from pretrained weights to a verified file
# make test      all tests
# make test-arm  the folder for a board on an emulated ARM processor; fetches QEMU and Python for arm64 into .arm/ first
# make bench     speed beside PyTorch's, scikit-learn's and Keras': training, nearest neighbour, import, export, exported files
# make readme    writes the README's table of models from the cards

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test test-arm lint bench readme
.DEFAULT_GOAL := demo

$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/python docs/demo.py

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

test-arm: $(INSTALLED)
	$(BIN)/python tests/arm/debian_arm.py
	$(BIN)/python -m pytest --verbose --override-ini=pythonpath=tests/arm tests/arm/emulated_board.py

bench: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[torch]'
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/nearest_neighbor.py
	$(BIN)/python benchmarks/alexnet.py
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/onnx_latency.py

readme: $(INSTALLED)
	$(BIN)/python docs/models.py
