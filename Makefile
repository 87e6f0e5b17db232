# Two commands on a machine with only Python and make:
#   make demo    simulate a cohort and run the whole workflow on it
#   make test    run all tests
# Both create the environment .venv by themselves.
SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
CORES ?= 2
RUN := $(VENV)/bin/python
READY := $(VENV)/.installed

.PHONY: help install demo test test-fast lint format docs ixi clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## create the environment .venv

# One pip call, so that pip sees all requirements together; every version is pinned in constraints.txt.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "Python %d.%d is not supported: use 3.11, 3.12 or 3.13, e.g. make PYTHON=python3.12." % v)'
	@echo 'Installing into $(VENV): minutes, by the network, and 3 GB. pip is quiet unless something fails.'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[workflow,dev,docs,options,greedy,deepbet,slurm,generic]'
	@touch $(READY)

# An interrupted simulation goes on where it stopped.
demo/.simulated: $(READY)
	$(RUN) -m anatcl simulate demo/bids --participants 20 --voxel-mm 3 --jobs $(CORES)
	@touch $@

demo: demo/.simulated ## simulate a cohort, run everything, print the headline figures
	$(RUN) -m anatcl run -- --cores $(CORES) --configfile workflow/demo.yaml --quiet rules
	@$(RUN) -m anatcl report summary --benchmark results/report/benchmark.tsv --report results/report/index.html

test: $(READY) ## run all tests
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses $(CORES) --dist loadgroup

test-fast: $(READY) ## run the tests that take no more than seconds
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses $(CORES) --dist loadgroup -m "not slow"

lint: $(READY) ## check format, style, types, layers and rules
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(VENV)/bin/snakefmt --check workflow rules
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports
	PATH="$(abspath $(VENV))/bin:$$PATH" snakemake --lint

format: $(READY) ## mend format and imports
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .
	$(VENV)/bin/snakefmt workflow rules

docs: $(READY) ## build docs/ into site/
	$(RUN) docs/make_figures.py
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet

RESULTS ?= results
ixi: $(READY) ## make docs/results/ixi.md from RESULTS=folder of that run
	$(RUN) docs/tools/cohort_page.py --results '$(RESULTS)' --out docs/results/ixi.md --title "Results on IXI" \
	  --attribution "IXI dataset, brain-development.org, CC BY-SA 3.0, Hammersmith site; 2 mm copies from the NiChart_Project repository. The heads are not defaced: only what lies inside the brain mask is shown." \
	  --command "anatcl run -- --cores 2 --configfile docs/results/ixi_run.yaml --config bids_dir=/data/ixi" \
	  --machine "two shared x86-64 cores, no GPU" --notes docs/results/ixi_notes.txt

clean: ## remove results, logs and the simulated cohort (not the environment)
	rm -rf results logs demo site .snakemake
