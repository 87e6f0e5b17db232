# Two commands on a machine with only Python and make:
#   make demo    simulate two cohorts and run the whole workflow on them
#   make test    run all tests
# Both create the environment .venv by themselves.
SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
CORES ?= 2
EXTRAS ?= workflow,dev,docs,options,greedy,surfaces,deepbet,slurm,generic,crate
# Further options of pip, e.g. --extra-index-url for a build of PyTorch or --find-links for a folder of wheels.
PIP_OPTIONS ?=
CONSTRAINTS ?= constraints.txt
RUN := $(VENV)/bin/python
READY := $(VENV)/.installed

.PHONY: help install install-image demo test test-fast lint format docs ixi clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## create the environment .venv

# One pip call, so that pip sees all requirements together; every version is pinned in constraints.txt.
$(READY): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "Python %d.%d is not supported: use 3.11, 3.12 or 3.13, e.g. make PYTHON=python3.12." % v)'
	@echo 'Installing into $(VENV): minutes, by the network, and 3 GB. pip is quiet unless something fails.'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) $(PIP_OPTIONS) --editable '.[$(EXTRAS)]'
	@touch $(READY)

# What an image holds: the workflow and its options, no developers' tools. TORCH is the build of PyTorch, cpu or cuda. The
# CPU build has a version of its own (2.13.0+cpu), so that pip cannot take the larger one.
TORCH ?= cpu
BUILD_cpu := +cpu
BUILD_cuda :=
INDEX_cpu := --extra-index-url https://download.pytorch.org/whl/cpu
INDEX_cuda :=
install-image: ## create .venv as an image holds it: TORCH=cpu or TORCH=cuda
	@case "$(TORCH)" in cpu|cuda) ;; *) echo "TORCH is cpu or cuda, not '$(TORCH)'." >&2; exit 2;; esac
	sed 's/^\(torch==[0-9.]*\)$$/\1$(BUILD_$(TORCH))/' constraints.txt > constraints.image.txt
	$(MAKE) install EXTRAS=workflow,options,greedy,surfaces CONSTRAINTS=constraints.image.txt PIP_OPTIONS="$(INDEX_$(TORCH)) $(PIP_OPTIONS)"
	rm constraints.image.txt

# Two simulated cohorts: a few heads, for the way from scans to measures, and many people as finished maps, for pretraining
# and its evaluation. An interrupted simulation goes on where it stopped.
demo/.heads: $(READY)
	$(RUN) -m anatcl simulate demo/bids --participants 6 --voxel-mm 3 --jobs $(CORES)
	@touch $@

demo/.maps: $(READY)
	$(RUN) -m anatcl simulate demo/maps --arrays 300
	@touch $@

demo: demo/.heads demo/.maps ## simulate two cohorts, run everything on them, print the headline figures
	@mkdir -p demo/heads
	@echo 'Part 1 of 2: 8 simulated scans, from BIDS to measures and their pages.'
	$(RUN) -m anatcl run -- --cores $(CORES) --directory demo/heads --configfile workflow/demo_heads.yaml --until measures
	@echo 'Part 2 of 2: 300 simulated people as maps, from pretraining to the benchmark.'
	$(RUN) -m anatcl run -- --cores $(CORES) --configfile workflow/demo.yaml
	@$(RUN) -m anatcl report summary --benchmark results/report/benchmark.tsv --report results/report/index.html

# Hundreds of jobs start Python: compiled files are kept, whatever the environment says.
TEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses $(CORES) --dist loadgroup

test: $(READY) ## run all tests
	$(TEST)

test-fast: $(READY) ## run the tests that take no more than seconds
	$(TEST) -m "not slow"

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
