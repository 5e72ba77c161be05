# make quick:  a first answer without a compiler -> reports/quick/index.html
# make report: everything from nothing to reports/latest/index.html
# make sample: the same into reports/lecture/, the sample that is committed
# make test:   the same set-up, then all tests
# make check:  the same set-up, then the lecture against its baselines
# Each target does what it needs and nothing twice.

NEW_ENOUGH := 'import sys; sys.exit(sys.version_info < (3, 11))'
# python3 if it is new enough, else the first of the others that is.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python3.14; do \
  "$$name" -c $(NEW_ENOUGH) 2>/dev/null && { echo "$$name"; exit; }; done; echo python3)
VENV := .venv
RUN := $(VENV)/bin
SPEED := gradients minibatch fits why
# An interpreter with PyMC, NumPyro and BlackJAX, if the table shall have them.
PEERS ?=
CALIBRATION := false_alarms calibration other_seeds
# Written last: an installation that was interrupted is done again. Reports need the first; tests
# and linters, with packages of their own, the second.
STAMP := $(VENV)/.installed
TOOLS := $(VENV)/.tools
INSTALL := $(RUN)/python -m pip install --quiet --disable-pip-version-check \
  --constraint constraints.txt --editable
# A worker for each core; the tests of a file stay in one, and so share its fixtures. A worker's
# BLAS threads would only wait for each other.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(RUN)/python -m pytest -n auto --dist loadfile
# From an outer environment these would put other packages in front of the pinned ones.
unexport PYTHONPATH PYTHONHOME

.PHONY: quick report sample check baselines test test-unit test-slow lint format figure cases \
  bench bench-calibration docs dist env cmdstan clean clean-all help
.DEFAULT_GOAL := help

help:
	@echo 'make quick      the lecture models without a compiler and NUTS, into reports/quick/'
	@echo 'make report     fit and judge the lecture models, write reports/latest/index.html'
	@echo 'make sample     renew the committed sample, reports/lecture/'
	@echo 'make check      run the lecture again and say what changed since baselines/ was written'
	@echo 'make baselines  write baselines/ anew, after a change that was meant'
	@echo 'make test       all tests but the slow ones (make test-unit: those that need no compiler)'
	@echo 'make test-slow  short replays of the calibration'
	@echo 'make lint       ruff and mypy (make format: let ruff rewrite)'
	@echo 'make figure     draw docs/architecture.svg from the code as it is (needs Graphviz)'
	@echo 'make cases      programs of kinds that people meet: what must come out, and what does'
	@echo 'make bench      the tables of docs/speed.md, then fits against their limits (20 minutes)'
	@echo 'make bench-calibration   false alarms and missed errors of judge and check (hours)'
	@echo 'make docs       build the site into build/site, with every warning an error'
	@echo 'make dist       build sdist and wheel into dist/, and try the wheel on Python 3.11 to 3.13'
	@echo 'make clean      remove the environment and what tools left behind'
	@echo 'make clean-all  also remove the cache with CmdStan, compiled programs and results'

env: $(TOOLS)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c $(NEW_ENOUGH) 2>/dev/null || { \
	  echo 'error: $(PYTHON) is not Python 3.11 or newer: '"$$($(PYTHON) --version 2>&1)"; \
	  echo 'name one that is, for example: make $(MAKECMDGOALS) PYTHON=python3.12'; exit 2; }
	@if [ -e $@ ]; then rm $@; else \
	  echo "Making $(VENV) with $$($(PYTHON) --version)"; \
	  $(PYTHON) -m venv --clear $(VENV) || { \
	    echo 'error: $(PYTHON) cannot make environments; on Debian: apt-get install python3-venv'; \
	    rm -rf $(VENV); exit 2; }; \
	fi
	@echo 'Installing the pinned packages from the package index (about half a minute)'
# pip would compile on one core, and the packages' own tests too. What does not compile only starts
# more slowly.
	@$(INSTALL) . --no-compile
	@$(RUN)/python -m compileall -q -j 0 -x '/tests?/' $(VENV)/lib harness || true
	@touch $@

$(TOOLS): $(STAMP)
	@echo 'Installing what tests and linters need'
	@$(INSTALL) '.[test,dev]'
	@touch $@

# Instant where there is a CmdStan; the harness, not a stamp, knows whether it is complete.
cmdstan: $(STAMP)
	@echo 'Looking for CmdStan (the first time it is installed and built: 2 to 4 minutes)'
	@$(RUN)/python -m harness.stan

quick: $(STAMP)
	$(RUN)/harness compare --quick --out reports/quick

report: cmdstan
	$(RUN)/harness compare --remedies --out reports/latest

sample: cmdstan
	$(RUN)/harness compare --remedies --out reports/lecture
	gzip --best --no-name --force reports/lecture/measures.csv reports/lecture/results.json

check: cmdstan
	$(RUN)/harness check

baselines: cmdstan
	$(RUN)/harness baseline

test: $(TOOLS) cmdstan
	HARNESS_REQUIRE_STAN=1 $(PYTEST) -m 'not slow' $(PYTEST_ARGS)

test-unit: $(TOOLS)
	$(PYTEST) -m 'not stan and not wheel and not slow' $(PYTEST_ARGS)

# Short replays of what bench-calibration measures in full.
test-slow: $(TOOLS)
	$(PYTEST) -m slow $(PYTEST_ARGS)

lint: $(TOOLS)
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/mypy

format: $(TOOLS)
	$(RUN)/ruff check --fix
	$(RUN)/ruff format

figure: $(TOOLS)
	$(RUN)/python docs/architecture_figure.py

cases: cmdstan
	$(RUN)/python benchmarks/cases.py

# Every table is printed, also behind one that misses a limit; the exit code says whether one did.
bench: cmdstan
	@missed=0; $(RUN)/python benchmarks/bench.py --markdown docs/speed.md \
	  $(if $(PEERS),--peers $(PEERS)) || missed=1; for name in $(SPEED); do echo "== $$name"; \
	  $(RUN)/python "benchmarks/$$name.py" || missed=1; done; exit $$missed

bench-calibration: cmdstan
	@missed=0; for name in $(CALIBRATION); do echo "== $$name"; \
	  $(RUN)/python "benchmarks/$$name.py" || missed=1; done; exit $$missed

docs: $(STAMP)
	@$(INSTALL) '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(RUN)/python -m mkdocs build --strict --quiet

dist: $(STAMP)
	@$(INSTALL) '.[dist]'
	rm -rf dist
	$(RUN)/python -m build --outdir dist
	$(RUN)/python -m twine check --strict dist/*
	.ci/dist

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist
	find harness tests benchmarks stan -name __pycache__ -type d -prune -exec rm -rf {} +

# Asks the harness where its cache is, so it comes before the environment is removed.
clean-all: $(STAMP)
	@folder=$$($(RUN)/python -c 'from harness.stan import cache_dir; print(cache_dir())'); \
	  echo "rm -rf $$folder"; rm -rf "$$folder"
	@$(MAKE) --no-print-directory clean
