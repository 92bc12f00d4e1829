# Two commands do everything on a fresh machine with Python 3.11 or newer: `make submission` and `make test`.
SHELL := /bin/bash
PYTHON ?= python3
CORES ?= 8
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help submission test cluster-test quick-test lint check environment lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

submission: environment ## the whole pipeline (config.yaml: the demo), from raw videos to checked submission files
	snakemake --cores $(CORES) --keep-going --quiet reason host --show-failed-logs -- submission

test: environment ## all tests but those of the cluster profile
	OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile -m "not cluster"

cluster-test: environment ## the whole demo through a Slurm of one node (root, with slurm-wlm and munge)
	OMP_NUM_THREADS=1 python -m pytest -m cluster

quick-test: environment ## tests that take seconds
	OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile -m "not slow and not demo"

lint: environment ## format, style, types, workflow
	ruff format --check .
	ruff check .
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint

environment: .venv/complete ## the pinned environment in .venv

# The environment is made aside from its stamp: an interrupted install starts again. Compiled to bytecode once, since a hundred jobs
# import it, and not everywhere may Python write the bytecode itself (PYTHONDONTWRITEBYTECODE, a read-only disk).
.venv/complete: envs/lock.txt envs/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; found " + sys.version.split()[0] + ". Set PYTHON=python3.12, say." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r envs/bootstrap.txt
	.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python --require-hashes --no-deps -r envs/lock.txt
	@touch $@

lock: ## choose versions anew: envs/lock.txt, and the conda files after it
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --group dev pyproject.toml -o envs/lock.txt
	python envs/pin.py

clean: ## remove the demo's results (never a corpus of yours)
	rm -rf results data/demo .snakemake
