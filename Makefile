# planetbell. "make" alone prints this help.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
LOGS := $(CURDIR)/.test/logs

.PHONY: help
help: ## print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/planetbell, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/planetbell ./cmd/planetbell

.PHONY: demo
demo: ## ring a few phones on this machine; no account, no configuration
	@# Sooner than make build: without the sender of traces, and SQLite is not optimised.
	@echo 'Building; the first time takes one to two minutes.'
	@CGO_ENABLED=0 go build -trimpath -tags demo -gcflags='modernc.org/...=-N -l' -ldflags '$(LDFLAGS)' -o bin/planetbell-demo ./cmd/planetbell
	@./bin/planetbell-demo demo

.PHONY: test
test: ## everything that CI runs: checks, all tests under the race detector, coverage, search for secrets
	@tools/test

.PHONY: chaos
chaos: ## ten minutes of random faults at 200 calls/s, under the race detector (CHAOS=10m)
	PLANETBELL_CHAOS=$(or $(CHAOS),10m) go test -race '-gcflags=modernc.org/...=-d=checkptr=0' -timeout 60m -run '^TestChaos$$' -v ./e2e | grep -vE '^ *[{]"time"'

.PHONY: nodes
nodes: ## three nodes on PostgreSQL under load, killed, cut off, upgraded (RATE=500 a second, SPAN=2m)
	PLANETBELL_NODES_RATE=$(or $(RATE),500) PLANETBELL_NODES_SPAN=$(or $(SPAN),2m) go test -timeout 60m -v \
		-run '^(TestOneNodeUnderLoad|TestThreeNodes|TestARollingUpgrade|TestPartitions|TestClocksThatDiffer)$$' ./e2e | grep -vE '^ *[{]"time"'

.PHONY: check
check: ## format, vet, lint and module checks, without tests
	@tools/check

.PHONY: cover
cover: ## print the statement coverage of the last make test, by package
	@go run ./tools/coverage -by-package .test/cover.out

.PHONY: bench
bench: ## our figures beside this machine's bare limits, and the ratios
	go run ./tools/bench

.PHONY: fuzz
fuzz: ## fuzz every parser for FUZZTIME (10s each)
	@tools/fuzz

.PHONY: scale
scale: ## what sizes beyond this machine need: computed from measured figures, and simulated
	go run ./tools/scale
