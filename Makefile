# Thin: every target is one command that can be run by hand.
# One selection of packages for all that is built: what `make test` has built serves the other targets too. Another selection has other features.
ALL = --workspace --features anabranch-server/opentelemetry
E2E = $(ALL) $(patsubst e2e/tests/%.rs,--test %,$(wildcard e2e/tests/*.rs))
# How the binary is built that is driven from outside; `ci` takes a quarter of the time.
export PROFILE ?= release
BIN = $(CURDIR)/target/$(PROFILE)/anabranch
.PHONY: agent run test e2e chaos conformance probes lint rules crs algorithms ci bench fuzz

agent: ## target/agent/anabranch-agent, the program for machines that only compute: small, so that it takes little memory
	cargo build --profile agent --package anabranch-server --bin anabranch-agent

run: ## the main job on real input: a GDAL tool on an agent, through three clients
	scripts/run-example.sh

test: ## all tests of the workspace
	scripts/install-tools.sh test
	cargo test $(ALL) --exclude e2e
	ANABRANCH_TEST_STORE=postgres cargo test $(ALL) --exclude e2e --lib --config 'target."cfg(all())".runner = ["$(CURDIR)/scripts/only-package.sh", "anabranch-engine"]' -- --skip data_folder --skip migrations --skip simulation --skip credentials

e2e: ## the binary from outside: protocols, agents, kill -9, shutdown
	scripts/install-tools.sh e2e
	cargo build --profile $(PROFILE) --bin anabranch --bin anabranch-agent
	ANABRANCH_BIN=$(BIN) cargo test $(E2E)

chaos: ## jobs by every interface while server and agents are killed, stopped and cut off; CHAOS_S seconds, ANABRANCH_SEED repeats one
	cargo build --profile $(PROFILE) --bin anabranch
	ANABRANCH_BIN=$(BIN) ANABRANCH_CHAOS_S=$${CHAOS_S:-180} cargo test $(ALL) --test chaos -- --nocapture

conformance: ## what the standards demand, foreign clients, and the same for two peers, as a table
	conformance/run.sh --peers

probes: ## attacks and a kill, the same against two peers, as a table; takes about five minutes
	conformance/run.sh --probes

lint: ## format, clippy, links of the documentation, licences and bans
	cargo fmt --all -- --check
	cargo clippy $(ALL) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc $(ALL) --lib --bins --example crs_table --no-deps --document-private-items --quiet
	scripts/install-tools.sh deny
	cargo deny --workspace check bans licenses sources
	scripts/check-advisories.sh

rules: ## who may use whom
	cargo run --quiet --package xtask -- rules

crs: ## the coordinate reference systems that are known, against PROJ
	scripts/check-crs.sh

algorithms: ## the built-in algorithms on real data, against shapely, rasterio with numpy, and pyproj
	scripts/check-algorithms.sh

ci:
	.ci/run

bench: ## speed and memory beside named peers; takes about seven minutes
	benches/run.sh

fuzz: ## each parser of what comes from the network, FUZZ_S seconds of processor time each, a minute if nothing is said
	fuzz/run.sh $${FUZZ_S:-60}
