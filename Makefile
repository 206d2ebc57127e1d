# make run    set up what is missing, build, and serve with the embedded PostgreSQL; options: make run ARGS="--listen 127.0.0.1:9000"
# make test   set up what is missing, and run all tests on an embedded PostgreSQL of their own; one: make test ARGS="--test it embedded"
# make lint   formatting, clippy without any warning, and what crates may get in (cargo-deny)
# They use PostgreSQL of their own, also where the shell exports DATABASE_URL for another project.

OWN := scripts/own-database

.PHONY: run test lint setup

run: setup
	@exec $(OWN) cargo run --locked -- serve --embedded $(ARGS)

test:
	@scripts/setup test
	@$(OWN) scripts/test $(ARGS)

lint: setup
	@$(OWN) cargo fmt --all --check
	@$(OWN) cargo clippy --workspace --all-targets --locked -- -D warnings
	@$(OWN) scripts/deny

setup:
	@scripts/setup
