# make demo    from nothing to a report: build, flash and attack a virtual nucleo-h743
# make test    every test            make check   lint, types and the fast tests, under a minute
# make setup   the environment of `make test` alone; make lint, make format, make clean
#
# The environment is .venv at the top; the stamps in it make a second run instant.

BIN := .venv/bin
DEMO_SAMPLES ?= 200
PYTEST_WORKERS ?= 2
EXTRAS := train,attacks,audio,flash,search,qonnx,dev
CXX_FILES = $(shell find firmware tests toolchain -name '*.[ch]' -o -name '*.[ch]pp')
# tests/train imports TensorFlow when it is collected; all of it is marked train.
FAST := not slow and not train and not attacks and not audio and not search and not data

.PHONY: demo test check setup setup-demo lint format clean
.DEFAULT_GOAL := demo

demo: setup-demo
	$(BIN)/tinyrobust build --board nucleo-h743
	$(BIN)/tinyrobust budget --board nucleo-h743
	$(BIN)/tinyrobust flash --board nucleo-h743 --virtual
	$(BIN)/tinyrobust evaluate --board nucleo-h743 --virtual --task shapes --samples $(DEMO_SAMPLES) \
		--adversarial models/zoo/shapes-small/adversarial.npz --fresh

test: setup
	$(BIN)/pytest -n $(PYTEST_WORKERS) --dist loadfile

check: setup lint
	$(BIN)/pytest -q -n $(PYTEST_WORKERS) -m "$(FAST)" --ignore=tests/train

lint: setup
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)

format: setup
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .
	$(BIN)/clang-format -i $(CXX_FILES)

setup: system-packages-tests .venv/.all
setup-demo: system-packages-demo .venv/.plain

.PHONY: system-packages-demo system-packages-tests
system-packages-demo system-packages-tests: system-packages-%:
	@tools/system-packages $*

# An environment that works is kept; a broken one (an interrupted first run) is made again.
.venv/.made:
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  python=$$(tools/find-python) && rm -rf .venv && echo "making .venv with $$python" && \
	  "$$python" -m venv .venv; }
	@touch $@

.venv/.plain: pyproject.toml | .venv/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/.all: pyproject.toml | .venv/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch .venv/.plain $@

clean:
	rm -rf build dist runs evaluation export .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
