# Everything sets itself up first; nothing but Python >= 3.11 and make is needed.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
.PHONY: up test check setup lint clean

up:
	@$(PYTHON) tools/bootstrap.py $(VENV) requirements.lock
	@exec $(VENV)/bin/everopen up $(ARGS)

setup:
	@$(PYTHON) tools/bootstrap.py $(VENV)-dev requirements-dev.lock

test: setup
	@$(VENV)-dev/bin/python -m pytest $(ARGS)

lint: setup
	@$(VENV)-dev/bin/ruff check .
	@$(VENV)-dev/bin/ruff format --check -q . || (echo "format: run $(VENV)-dev/bin/ruff format ." && false)
	@$(VENV)-dev/bin/mypy
	@PYTHONPATH=src $(VENV)-dev/bin/lint-imports --no-cache

check: lint test

clean:
	rm -rf $(VENV) $(VENV)-dev $(VENV).lock $(VENV)-dev.lock .mypy_cache .ruff_cache .pytest_cache
