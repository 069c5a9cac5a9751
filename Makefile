# Kello. `make` lists what there is to do. Everything that it makes lives in .kello/ of this checkout, and what it
# downloads in your caches (uv's own, and ~/.cache/kello).

STATE := .kello
PYTHON := $(STATE)/venv/bin/python
ARGS ?=
WORKERS ?= 6

# The first Python that is new enough; python3 itself where none is, so that the message names it.
FIND_PYTHON = for candidate in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	candidate=python3; done

.DEFAULT_GOAL := help
.PHONY: help demo test test-docker images faults bench check lint docs up down status clean

help:  ## list the targets
	@awk -F ':.*##' '/^[a-z-]+:.*##/ { printf "make %-12s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STATE)/environment  ## the whole system at work: a scripted month, and the proof that every promise held
	@$(PYTHON) -m deploy.local.demo $(ARGS)

test: $(STATE)/environment  ## every test, on a real Kafka and PostgreSQL (ARGS="tests/billing -k paid" for some)
	@$(PYTHON) -m pytest --numprocesses $(WORKERS) --dist worksteal $(ARGS)

test-docker: $(STATE)/environment  ## harness and journeys on containers (images: KELLO_KAFKA_IMAGE, KELLO_POSTGRES_IMAGE)
	@if $(PYTHON) -c 'import sys; from deploy.local.containers import engine_answers; sys.exit(not engine_answers())'; \
	then env -u KELLO_KAFKA -u KELLO_POSTGRES KELLO_SERVERS=docker $(PYTHON) -m pytest $(or $(ARGS),tests/harness tests/journeys); \
	else echo "No Docker engine answers here: test-docker is skipped"; fi

images: $(STATE)/environment  ## build images of Kafka and PostgreSQL where an engine cannot pull them
	@$(PYTHON) -m deploy.images

faults: $(STATE)/environment  ## kill services at random moments for two minutes (FAULTS_SECONDS), and prove that it did no harm
	@FAULTS_SECONDS=$${FAULTS_SECONDS:-120} FAULTS_CUSTOMERS=$${FAULTS_CUSTOMERS:-500} $(PYTHON) -m pytest -s tests/faults $(ARGS)

check: lint test  ## what CI runs: lint, types, import contracts and every test

lint: $(STATE)/environment  ## style, types and import contracts
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@$(STATE)/venv/bin/lint-imports

bench: $(STATE)/environment  ## how fast all this is, beside the limit and its peers (QUICK=1: in under five minutes)
	@$(PYTHON) -m tests.bench $(if $(QUICK),--quick) $(ARGS)

docs: $(STATE)/environment  ## one page about every topic, message and read API, to be read without a network
	@./kello contracts page --out $(STATE)/docs/kello.html

up: $(STATE)/environment  ## start the system in the background and say where it is
	@$(PYTHON) -m deploy.local up

down: $(STATE)/environment  ## stop what `up` started; data stays for the next time
	@$(PYTHON) -m deploy.local down

status: $(STATE)/environment  ## what of it is alive
	@$(PYTHON) -m deploy.local status || true

clean:  ## stop everything and remove what was made here, data and environment; caches stay
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m deploy.local down; fi
	@rm -rf $(STATE) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STATE)/environment: requirements.lock deploy/environment.py
	@$(FIND_PYTHON); $$candidate deploy/environment.py
