# `make reproduce` builds the demo to the last figure; `make test` does the same and runs the tests. `make siblings` and `make quest`
# build the experiments of the papers that grew out of it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: reproduce siblings quest test test-cluster lint site environment lock audit clean

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

# The test on a Slurm that is started for it, which `make test` runs, too, and the profiles of all clusters, last, because every
# Snakemake that starts imports the plugins that are installed. WHOLE=1 takes all of the tiny preset in place of a slice.
test-cluster: environment
	$(BIN)/pytest tests/cluster/test_slurm.py
	$(PYTHON) envs/install.py --executors
	$(BIN)/pytest tests/test_profiles.py

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
	@echo "Done. Start with docs/_build/docs/contents.html."

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
