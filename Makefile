# make run    set up what is missing, build, and serve with the embedded PostgreSQL; options: make run ARGS="--listen 127.0.0.1:9000"
# make test   set up what is missing (also Node's packages for tests/clients), and run all tests on an embedded PostgreSQL of their own; one: make test ARGS="--test it embedded"
# make lint   formatting and clippy, without any warning
# They use PostgreSQL of their own, also where the shell exports DATABASE_URL for another project.

OWN := scripts/own-database

.PHONY: run test lint setup clients

run: setup
	@exec $(OWN) cargo run --locked -- serve --embedded $(ARGS)

test: setup clients
	@$(OWN) scripts/test $(ARGS)

lint: setup
	@$(OWN) cargo fmt --all --check
	@$(OWN) cargo clippy --workspace --all-targets --locked -- -D warnings

setup:
	@scripts/setup

clients:
	@scripts/setup-clients
