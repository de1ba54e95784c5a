# `make reproduce` builds the demo to the last figure; `make test` does the same and runs the tests. `make siblings` builds the
# experiments of the papers that grew out of it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: reproduce siblings test lint environment lock audit clean

reproduce: environment
	$(BIN)/snakemake
	@$(MAKE) --no-print-directory results/report.html
	@echo
	@echo "Done. Start with results/index.html (every figure and table); results/report.html is Snakemake's report."

results/report.html: results/index.html
	$(BIN)/snakemake --report $@ --quiet all

siblings: environment
	$(BIN)/snakemake --configfile config/presets/siblings.yaml
	@echo
	@echo "Done. Start with results/siblings/index.html."

test: reproduce lint
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 15
	@echo
	@echo "Tests passed; the results that they looked at are in results/index.html."

lint: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/mypy
	$(BIN)/python envs/lock.py --check

environment:
	@$(PYTHON) envs/install.py

lock:
	$(PYTHON) envs/lock.py

# Asks for known vulnerabilities of every locked package; needs the network, and is no part of the tests.
audit:
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(PYTHON) -m venv "$$folder" \
		&& "$$folder/bin/pip" install --quiet --disable-pip-version-check pip-audit==2.10.0 \
		&& "$$folder/bin/pip-audit" --strict --disable-pip --require-hashes -r envs/requirements.txt -r envs/executors.txt

# Removes what the demo made (not results/published) and keeps the environment.
clean:
	$(BIN)/snakemake --delete-all-output
	rm -f results/report.html
