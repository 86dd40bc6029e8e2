# Needs CPython >= 3.11 with venv, git and make; everything else comes from uv.lock.
PYTHON ?= python3
BIN := .venv/bin
UV_VERSION := 0.13.9
export UV_PYTHON_DOWNLOADS := never

.PHONY: install run test test-long lint types bench generate publish clean help

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/installed  ## Create .venv with everything that uv.lock names

.venv/installed: uv.lock pyproject.toml client/pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv sync --quiet --frozen --python $(BIN)/python
	@touch $@

run: install  ## Serve with an embedded database, sample films and demo users
	@$(BIN)/interview-server serve --demo

test: install  ## Everything that CI checks
	@.ci/checks

test-long: install  ## Also the soak and race tests in full
	@INTERVIEW_LONG=1 $(BIN)/pytest -n auto --dist loadgroup

lint: install  ## Lint and format check
	@$(BIN)/ruff check && $(BIN)/ruff format --check

types: install  ## mypy --strict
	@$(BIN)/mypy

bench: install  ## Throughput as ratios to a bare grpc.aio echo
	@$(BIN)/python -m benchmarks

generate: install  ## Generate code from protos/
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python protos/generate.py

publish: install  ## Take the contracts as published: from then on no change may break them
	@$(BIN)/python protos/generate.py --third-party
	@$(BIN)/buf build --path protos/interview --exclude-source-info --output protos/published.binpb

clean:  ## Remove the environment and the embedded database
	rm -rf .venv data
