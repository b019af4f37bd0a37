# `make help` says what there is. Recipes are short; the logic is in lab/ and in pyproject.toml.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
# ExaBGP as the contract tests run it. The dependency groups of these names pin the versions.
EXABGP := .exabgp/4.2/ready .exabgp/5.0/ready
# Network namespaces need root; everything else runs as you.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=CI,CLAB_SCHEMA,DOCKER_HOST)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup ## Bring the lab up, blackhole a ToR's uplink, show what happens (root or sudo)
	$(SUDO) $(BIN)/python -m lab demo

.PHONY: clab
clab: setup setup-containerlab ## The same in containerlab, with FRR 8.4 and with FRR 10.3 (root or sudo)
	$(SUDO) lab/clab.sh

.PHONY: test
test: setup check ## Run all tests, the laboratory's included (root or sudo)
	@lab/setup.sh package
	$(SUDO) $(BIN)/python -m pytest -p no:cacheprovider -n 4 --dist loadgroup tests/contract
	$(SUDO) $(BIN)/python -m pytest -p no:cacheprovider -n 2 --dist loadgroup -m 'not alone' tests/network
	$(SUDO) $(BIN)/python -m pytest -p no:cacheprovider -m alone tests/network
	$(SUDO) $(BIN)/python -m pytest -p no:cacheprovider -n 2 --dist loadfile tests/package
	$(SUDO) $(BIN)/python -m pytest -p no:cacheprovider tests/containerlab

.PHONY: check
check: .venv/ready ## Format, lint, types, import rules, unit and property tests (no root)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/codespell
	$(BIN)/yamllint --strict .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -n auto tests/unit tests/property tests/golden

.PHONY: docs
docs: .venv/ready ## Build the documentation as a site, into site/ (`make check` builds it as well)
	$(BIN)/mkdocs build -f .mkdocs.yml

.PHONY: docs-update
docs-update: .venv/ready ## Write the pages of docs/ that are made from the code
	$(BIN)/python -m pytest -q --update-golden $$(grep -l '^PAGE = ' tests/golden/*.py)
	git diff --stat docs

.PHONY: fmt
fmt: .venv/ready ## Format the code and mend what the linter can mend
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

.PHONY: setup
setup: ## Install what is missing: distribution packages (root or sudo), .venv, .exabgp
	@lab/setup.sh
	@$(MAKE) --no-print-directory .venv/ready $(EXABGP)
	@lab/promtool.sh

.PHONY: setup-containerlab
setup-containerlab: ## Install what `make clab` needs: Docker, which stays stopped, and containerlab
	@lab/setup.sh containerlab
	@lab/containerlab.sh

.PHONY: peers
peers: setup ## Install what `python -m lab compare` runs beside bgphealth (root or sudo)
	@lab/setup.sh peers
	@$(MAKE) --no-print-directory .peers/anycast-healthchecker/ready

.PHONY: deb
deb: .venv/ready ## Build the Debian package into dist/ (root or sudo for what it needs)
	@lab/setup.sh package
	.packaging/deb

.PHONY: hooks
hooks: .venv/ready ## Run the checks before every commit
	$(BIN)/pre-commit install

.PHONY: clean
clean: ## Remove what these commands made, but for distribution packages
	[ ! -e .containerlab/dockerd.json ] || $(SUDO) $(BIN)/python -m lab docker down
	[ ! -e .containerlab ] || $(SUDO) rm -rf .containerlab
	rm -rf .venv .exabgp .peers .promtool dist site lab/out .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/ready: pyproject.toml
	@echo "installing the virtual environment .venv"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed (make PYTHON=python3.11 ...), this is " + sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable . --group dev
	@touch $@

.exabgp/%/ready: pyproject.toml | .venv/ready
	@echo "installing the virtual environment .exabgp/$*"
	$(PYTHON) -m venv --without-pip .exabgp/$*
	$(BIN)/pip --python .exabgp/$* install --quiet --disable-pip-version-check --group exabgp-$*
	@touch $@

.peers/%/ready: pyproject.toml | .venv/ready
	@echo "installing the virtual environment .peers/$*"
	$(PYTHON) -m venv --without-pip .peers/$*
	$(BIN)/pip --python .peers/$* install --quiet --disable-pip-version-check --group $*
	@touch $@
