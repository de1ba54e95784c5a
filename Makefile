# `make reproduce` builds the demo to the last figure; `make test` does the same and runs the tests. `make siblings` builds the
# experiments of the papers that grew out of it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: reproduce siblings test lint environment lock clean

reproduce: environment
	$(BIN)/snakemake
	@echo
	@echo "Done. Start with results/report.html."

siblings: environment
	$(BIN)/snakemake --configfile config/presets/siblings.yaml
	@echo
	@echo "Done. Start with results/siblings/report.html."

test: reproduce lint
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 15
	@echo
	@echo "Tests passed; the results that they looked at are in results/report.html."

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

# Removes what the demo made (not results/published) and keeps the environment.
clean:
	$(BIN)/snakemake --delete-all-output
