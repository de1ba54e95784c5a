# `make reproduce` builds the whole demo; `make test` also runs the tests. `make siblings` and `make quest` build the experiments of
# the follow-up papers.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: reproduce siblings quest test test-cluster image lint site environment lock audit clean

reproduce: environment
	$(BIN)/snakemake
	@echo
	@echo "Done. Start with results/report.html."

siblings quest: environment
	$(BIN)/snakemake --configfile config/presets/$@.yaml
	@echo
	@echo "Done. Start with results/$@/report.html."

test: reproduce lint
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 25
	@echo
	@echo "Tests passed; the results that they checked are in results/report.html."

# Tests every engine that can be started here, skips the others with a reason, and writes docs/engines.md from the outcome; run it
# before a release. WHOLE=1 runs the whole tiny preset on Slurm without accounting, instead of a slice.
test-cluster: environment
	$(PYTHON) envs/install.py --executors
	$(BIN)/pytest -o addopts= -v -rs --record-engines tests/cluster tests/test_profiles.py
	$(BIN)/python docs/make_engines.py

# The image for jobs in containers: `make image IMAGE=registry.example.org/neural-echos:1.0`.
IMAGE ?= localhost/neural-echos:latest
CONTAINERS ?= $(firstword $(foreach one,podman docker,$(notdir $(shell command -v $(one)))))
image:
	@test -n "$(CONTAINERS)" || { echo "make image: neither podman nor docker was found; install one of them"; exit 1; }
	$(CONTAINERS) build --file Containerfile --tag $(IMAGE) $(BUILD_OPTIONS) .

lint: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/mypy
	$(BIN)/python envs/lock.py --check

environment:
	@$(PYTHON) envs/install.py

# The documentation as a site, in docs/_build; broken links or docstrings are errors.
site: environment
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs . docs/_build
	@echo "Done. Start with docs/_build/index.html."

lock: environment
	$(PYTHON) envs/lock.py

# Checks every locked package for known vulnerabilities; needs network access and is not part of the tests.
audit:
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(PYTHON) -m venv "$$folder" \
		&& "$$folder/bin/pip" install --quiet --disable-pip-version-check pip-audit==2.10.0 \
		&& "$$folder/bin/pip-audit" --strict --disable-pip --require-hashes -r envs/requirements.txt -r envs/executors.txt

# Removes the demo's outputs (not results/published) and keeps the environment.
clean:
	$(BIN)/snakemake --delete-all-output
