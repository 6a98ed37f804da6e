# Two commands: `make up` runs Freehold, `make test` tests everything. Both start from nothing.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO := source tools/env && cargo
FREEHOLD := target/release/freehold
UP_ARGS ?=

.PHONY: help install deps starter build up test lint sdk people focus browser schemathesis fuzz soak bench bench-serve bench-audit \
	bench-gateway deny

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

deps: ## install what the build needs (apt as root, PyPI wheels otherwise)
	@tools/deps

starter: ## fetch the starter model (98 MB), checked by SHA-256
	@tools/starter target/starter

build: deps ## build the binary for this processor
	$(CARGO) build --release --locked --workspace

up: build starter ## build, fetch the starter model and run the service
	@FREEHOLD_STARTER_GGUF="$${FREEHOLD_STARTER_GGUF:-$(CURDIR)/target/starter/SmolLM2-135M-Instruct.Q4_1.gguf}" $(FREEHOLD) up $(UP_ARGS)

sdk:
	@tools/venv target/venv-sdk tests/sdk/requirements.txt

people:
	@tools/venv target/venv-people tests/people/requirements.txt

focus:
	@PYTHON="$$(tools/python312)" tools/venv target/venv-focus tests/focus/requirements.txt tests/focus/build-requirements.txt

browser: ## what the browser tests need: Chromium, its driver and selenium
	@tools/deps browser
	@tools/venv target/venv-browser tests/browser/requirements.txt

schemathesis:
	@tools/venv target/venv-schemathesis tests/schemathesis/requirements.txt

lint: deps ## formatting and clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

test: deps starter sdk people focus browser schemathesis ## everything, from nothing
	$(CARGO) test --release --locked --workspace
	$(MAKE) --no-print-directory lint

soak: deps starter schemathesis ## kill the service a thousand times under load; each answer must be charged exactly once. Then the API against its document, at length
	FREEHOLD_TEST_KILLS=$${FREEHOLD_TEST_KILLS:-1000} $(CARGO) test --release --locked --workspace --test it billing_crash -- --nocapture
	FREEHOLD_TEST_EXAMPLES=$${FREEHOLD_TEST_EXAMPLES:-1000} FREEHOLD_TEST_SEED=$${FREEHOLD_TEST_SEED:-$$RANDOM} $(CARGO) test --release --locked --workspace --test it schema:: -- --nocapture

fuzz: deps ## every fuzz target for FUZZ_SECONDS (60) each
	@tools/fuzz $${FUZZ_SECONDS:-60}

deny: deps ## licences and advisories of every dependency
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny@0.20.2
	cargo deny check

bench: bench-serve bench-audit bench-gateway ## every benchmark; the tables go to bench/RESULTS.md

bench-serve: build starter ## Freehold against llama-server
	@bench/serve/run --freehold $(FREEHOLD)

bench-audit: build ## freehold audit against checkov
	@bench/audit/run --freehold $(FREEHOLD)

bench-gateway: build ## Freehold as a gateway beside nginx and LiteLLM
	@tools/deps gateway
	$(CARGO) build --release --locked --workspace --example gateway-upstream
	@bench/gateway/run --freehold $(FREEHOLD)

install: build ## put the binary into ~/.local/bin
	install -D -m 755 $(FREEHOLD) "$$HOME/.local/bin/freehold"
