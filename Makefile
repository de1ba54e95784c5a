# `make reproduce` builds the demo to the last figure; `make test` does the same and runs the tests. `make siblings` and `make quest`
# build the experiments of the papers that grew out of it.
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
	@echo "Tests passed; the results that they looked at are in results/report.html."

# Every engine that can be started here, those that cannot skipped with a reason, and docs/engines.md written from what happened; to be
# run before a release. WHOLE=1 takes all of the tiny preset in place of a slice on Slurm without accounting.
test-cluster: environment
	$(PYTHON) envs/install.py --executors
	$(BIN)/pytest -o addopts= -v -rs --record-engines tests/cluster tests/test_profiles.py
	$(BIN)/python docs/make_engines.py

# The image of jobs in containers: `make image IMAGE=registry.example.org/neural-echos:1.0`.
IMAGE ?= localhost/neural-echos:latest
CONTAINERS ?= $(firstword $(foreach one,podman docker,$(notdir $(shell command -v $(one)))))
image:
	@test -n "$(CONTAINERS)" || { echo "make image: there is neither podman nor docker; install one of them"; exit 1; }
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

# The documentation as a site, in docs/_build; broken links and docstrings end it.
site: environment
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs . docs/_build
	@echo "Done. Start with docs/_build/index.html."

lock: environment
	$(PYTHON) envs/lock.py

# Asks for known vulnerabilities of every locked package; needs the network, and is no part of the tests.
audit:
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(PYTHON) -m venv "$$folder" \
		&& "$$folder/bin/pip" install --quiet --disable-pip-version-check pip-audit==2.10.0 \
		&& "$$folder/bin/pip-audit" --strict --disable-pip --require-hashes -r envs/requirements.txt -r envs/executors.txt

# Removes what the demo made (not results/published) and keeps the environment.
clean:
	$(BIN)/snakemake --delete-all-output
