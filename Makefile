# Each target sets up what it needs. PYTHON picks the interpreter (3.11 to 3.13).
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || echo python3)
PIP_OPTIONS ?=
WORKERS ?= 2
BIN := .venv/bin
DEMO := checkpoints/demo-run

.PHONY: demo test test-slow check docs format bench findings setup clean

demo: .venv/.installed  ## train the default series, analyse it, write its report
	@test -f $(DEMO)/manifest.json || $(BIN)/mechicl train demo --out $(DEMO)
	@$(BIN)/mechicl train --resume $(DEMO)
	@$(BIN)/mechicl show $(DEMO)
	@$(BIN)/mechicl report $(DEMO)
	@echo
	@echo "Open $(DEMO)/report.html in a browser, or scrub through training and ablate heads on the page:"
	@echo "  $(BIN)/mechicl app $(DEMO)"
	@echo "Then try:"
	@echo "  $(BIN)/mechicl analyze $(DEMO) head_ablations"
	@echo "  $(BIN)/mechicl densify $(DEMO) --from 1400 --to 1700 --every 10"
	@echo "  $(BIN)/mechicl recipes"
	@echo "(After '. $(BIN)/activate' it is 'mechicl' alone, as in the README.)"

test: .venv/.dev  ## the tests that take minutes, on two cores: WORKERS=4 on four
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-slow: .venv/.dev  ## the rest of them
	$(BIN)/python -m pytest -m slow

check: .venv/.dev  ## lint, layers and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python
	@# Every name that callers can reach has a known type. From elsewhere, since it looks for an installed package.
	cd / && PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH="$(CURDIR):$$($(CURDIR)/$(BIN)/python -c 'import site; print(site.getsitepackages()[0])')" pyright --verifytypes mechicl --ignoreexternal

docs: .venv/.docs  ## the documentation as a site, in build/site; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.dev  ## our speed beside plain TransformerLens, as ratios (half an hour)
	$(BIN)/python benchmarks

findings: .venv/.dev  ## docs/findings.md from the tables of research/
	$(BIN)/python -m research page

setup: .venv/.dev

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f'mechicl needs Python 3.11 to 3.13, found {v[0]}.{v[1]}: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(PIP_OPTIONS) --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/.dev: .venv/.installed
	$(BIN)/python -m pip install $(PIP_OPTIONS) --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

.venv/.docs: .venv/.dev
	$(BIN)/python -m pip install $(PIP_OPTIONS) --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

clean:
	rm -rf .venv build dist
