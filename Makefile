# Wraps the command lines of kdnb and tools. Two commands on a fresh machine: `make study` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATASET ?= phantom_brain
DATA ?=
PROFILE ?= quick
SEED ?= 0
SPLIT ?=
RUNS ?=
PLAN ?= sweeps/phantoms.toml
EXECUTED ?=
FOLDER ?=
OUT ?= grades.csv
WORKERS ?= 1
SCHEDULER ?=
TESTERS ?= 2
REPO ?=
# cpu: PyTorch without CUDA, from PyTorch's own index; the pins stay those of requirements.txt
TORCH ?=
CPU_INDEX = https://download.pytorch.org/whl/cpu
TORCH_PINS = $(shell grep -E '^(torch|torchvision)==' requirements.txt)
PIP = $(BIN)/python tools/pip_progress.py
STUDY = $(BIN)/kdnb study --dataset "$(DATASET)" --data "$(DATA)" --profile "$(PROFILE)" --seed "$(SEED)" \
	--split "$(SPLIT)" --runs-dir "$(RUNS)"
# whole files to each worker, in the order of tests/conftest.py; byte code is kept, also where the shell forbids it
PYTEST = OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(TESTERS) --dist loadfile \
	--no-loadscope-reorder

.PHONY: install study sweep lab book house doctor badges test test-fast lint figures publish course grade times clean clean-runs

install: $(VENV)/installed

$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
ifeq ($(TORCH),cpu)
	@$(PIP) "PyTorch for CPUs (about 200 MB)" --index-url $(CPU_INDEX) $(TORCH_PINS)
else ifneq ($(TORCH),)
	$(error TORCH takes cpu, or nothing for what PyPI has: got '$(TORCH)')
endif
	@$(PIP) "packages (several minutes; with CUDA about 3 GB)" -r requirements.txt
	@$(PIP) "kdnb itself" --no-deps -e .
	@touch $@

$(VENV)/installed-book: $(VENV)/installed
	@$(PIP) "what the book needs" -e '.[book]'
	@touch $@

$(VENV)/installed-course: $(VENV)/installed
	@$(PIP) "what the course needs" -e '.[course]'
	@touch $@

study: install
	@$(STUDY)

sweep: install
	@$(BIN)/kdnb sweep run "$(PLAN)" --workers "$(WORKERS)" --scheduler "$(SCHEDULER)" --runs-dir "$(RUNS)"
	@$(BIN)/kdnb sweep collect "$(PLAN)" --runs-dir "$(RUNS)"

lab: install
	@$(BIN)/python -m tools.lab
	$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/my_notebooks/00_start_here.ipynb

book: $(VENV)/installed-book
	@$(BIN)/python -m tools.book --executed "$(EXECUTED)" --dataset "$(DATASET)" --data "$(DATA)" \
		--profile "$(PROFILE)" --seed "$(SEED)" --split "$(SPLIT)" --runs-dir "$(RUNS)"

house: install
	@$(BIN)/python -m tools.house

doctor: install
	@$(BIN)/python -m tools.doctor --runs-dir "$(RUNS)"

badges: install
	$(BIN)/python -m tools.badges $(REPO)

test: $(VENV)/installed-book $(VENV)/installed-course
	$(PYTEST)

test-fast: install
	$(PYTEST) -m "not slow and not browser and not archives"

lint: install
	$(BIN)/ruff check .

figures: install
	$(BIN)/kdnb figures --partial

publish: install
	@$(BIN)/python -m tools.publish --dataset "$(DATASET)" --data "$(DATA)" --profile "$(PROFILE)" \
		--seed "$(SEED)" --split "$(SPLIT)" --runs-dir "$(RUNS)"

course: $(VENV)/installed-course
	@$(BIN)/python -m tools.course --executed "$(EXECUTED)"

grade: $(VENV)/installed-course
	@$(BIN)/python -m tools.grading "$(FOLDER)" --out "$(OUT)"

times: install
	@$(BIN)/python -m tools.times "$(FOLDER)"

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -exec rm -rf {} +

# every trained network goes, without a question; `kdnb runs remove` asks, and takes away single runs
clean-runs:
	rm -rf runs
