# Everything a developer and CI run. `make` alone prints this list.
.DEFAULT_GOAL := help
SHELL := /bin/bash

GO        ?= go
TOOL      := $(GO) tool -modfile=tools/go.mod
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT    ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS   := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
FUZZTIME  ?= 60s
# A race-built test binary of every package at once exhausts small machines.
TESTFLAGS ?= -race -shuffle=on -timeout=15m

.PHONY: help
help: ## Print this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup ## Run the whole story on this machine: NATS, Postgres, a Salesforce simulator and the service
	@$(GO) run ./cmd/demo

.PHONY: run
run: build ## Run the service with ./penstock.yaml
	./bin/penstock run

.PHONY: build
build: ## Build bin/penstock, a static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/penstock ./cmd/penstock

.PHONY: setup
setup: ## Install what demo and test need and this machine lacks (PostgreSQL, a C compiler for -race)
	@./scripts/setup

.PHONY: test
test: setup ## Run every test, with the race detector, and the outside check of the simulator
	$(GO) test $(TESTFLAGS) ./...
	cd sfapi/sfsim/compat && $(GO) test $(TESTFLAGS) ./...

.PHONY: soak
soak: setup ## Kill, freeze, cut off and replay for 90 s, and prove every promise afterwards (SOAK=1h: longer)
	$(GO) run ./internal/soak

.PHONY: short
short: ## Run the tests without the race detector and without the long ones
	$(GO) test -short -timeout=5m ./...

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (60s)
	@set -e; for file in $$(grep -rlE --include='*_test.go' '^func Fuzz' . ); do \
		for target in $$(grep -oE '^func Fuzz[A-Za-z0-9]+' $$file | cut -d' ' -f2); do \
			echo "--- $$target ($$(dirname $$file))"; \
			$(GO) test -run='^$$' -fuzz="^$$target$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=20x $$(dirname $$file); \
		done; \
	done

.PHONY: bench
bench: setup ## Measure the service beside what users would write by hand, in one run (BENCH="--only=throughput --json=out.json")
	$(GO) run ./internal/bench $(BENCH)

.PHONY: microbench
microbench: setup ## Run the benchmarks of the packages
	$(GO) test -run='^$$' -bench=. -benchmem ./...

.PHONY: lint
lint: ## Check formatting, vet and linters, module files
	$(TOOL) golangci-lint run ./...
	cd sfapi/sfsim/compat && $(GO) vet ./...
	$(GO) mod tidy -diff
	cd sfapi/sfsim/compat && $(GO) mod tidy -diff

.PHONY: fmt
fmt: ## Format the code
	$(TOOL) golangci-lint fmt ./...

.PHONY: vuln
vuln: ## Look for known vulnerabilities in what we link
	$(TOOL) govulncheck ./...

.PHONY: migrate
migrate: build ## Migrate the database of ./penstock.yaml
	./bin/penstock migrate
