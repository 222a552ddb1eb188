# Each target is one line that a person could type; `make` alone shows them.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
export DVC_SITE_CACHE_DIR := $(CURDIR)/.dvc/tmp/site
PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help repro test test-recipes check browser bench-default bench-intake bench-augment bench-train bench-fashion bench-blend bench-team bench-duplicates bench

help:  ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

repro: .venv/ready  ## run the whole pipeline, then say what came out
	@python -m stages.check && python -m dvc repro && python -m commands.main status

test: .venv/ready check browser  ## lint, type-check and test everything
	@OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile

test-recipes: .venv/ready  ## every recipe, reduced, through dvc repro: some minutes
	@OMP_NUM_THREADS=1 python -m pytest -n 2 -m slow tests/test_recipes_run.py

check: .venv/ready  ## lint and type-check
	@ruff check . && ruff format --check . && mypy

browser:  # the report is tested in Debian's chromium: installed where that is allowed, else the tests say what was not run
	@{ command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "installing chromium to test the pages with" && \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1; } || \
	  echo "no chromium here: the tests of the pages in a browser are skipped"

bench-default: .venv/ready  ## the figures of the default run
	@python -m benchmarks.default
bench-intake: .venv/ready  ## reading a competition, against decode + encode
	@python -m benchmarks.intake
bench-augment: .venv/ready  ## augmentation, against albumentations, torchvision and the limits
	@python -m benchmarks.augment
bench-train: .venv/ready  ## the training loop, against the pure step, timm and fastai
	@python -m benchmarks.train
bench-fashion: .venv/ready  ## a whole contest of five members, against plain fastai and timm runs of the same CPU time
	@python -m benchmarks.fashion
bench-blend: .venv/ready  ## the blend, against AutoGluon, and on simulated contests
	@python -m benchmarks.blend
bench-team: .venv/ready  ## votes and diversity, on simulated teams
	@python -m benchmarks.team && python -m benchmarks.gallery
bench-duplicates: .venv/ready  ## near duplicates: found, invented, and what many images cost
	@python -m benchmarks.duplicates
bench: bench-default bench-intake bench-duplicates bench-augment bench-train bench-fashion bench-blend bench-team  ## all of them

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..."; exit 1; }
	@echo "Setting up .venv with the tested versions (once; some minutes)..."
	@$(PYTHON) -m venv .venv
	@python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch .venv/ready
