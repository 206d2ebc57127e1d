# make run    set up what is missing, build, and serve with the embedded PostgreSQL; options: make run ARGS="--listen 127.0.0.1:9000"
# make test   set up what is missing, and run all tests on an embedded PostgreSQL of their own; one: make test ARGS="--test it embedded"
# make lint   formatting, clippy without any warning, what crates may get in (cargo-deny), and the types of web/
# make release  build target/release/taskwire as it is released: trained by what it does all day (a quarter of an hour)
# make bench  measure Taskwire and its peers on the same work, in turn (about two hours, of nobody else's): bench/results/DATE.json,
#             docs/benchmarks.md; some rows only: make bench ARGS="--only save-256,batch"
# make bench-quick  one round of 2 s a row over less data, to see that it works: target/bench-quick.json
# make bench-check  instructions of one save and one status (valgrind), held to bench/budget.json; anew: ARGS=--write
# run and test build the pages (web/dist) first, where they are missing or old.
# They use PostgreSQL of their own, also where the shell exports DATABASE_URL for another project.

OWN := scripts/own-database

.PHONY: run test lint release bench bench-quick bench-check bench-build setup

run:
	@scripts/setup pages
	@scripts/web || echo "taskwire: the server runs without its pages" >&2
	@exec $(OWN) cargo run --locked -- serve --embedded $(ARGS)

test:
	@scripts/setup test
	@scripts/web
	@$(OWN) scripts/test $(ARGS)

lint:
	@scripts/setup pages
	@$(OWN) cargo fmt --all --check
	@$(OWN) cargo clippy --workspace --all-targets --locked -- -D warnings
	@$(OWN) scripts/deny
	@scripts/web check

release:
	@scripts/setup pages
	@scripts/web || echo "taskwire: the program is built without its pages" >&2
	@$(OWN) scripts/release

bench: bench-build
	@$(OWN) target/release/bench table --out bench/results/$$(date +%F).json --page docs/benchmarks.md $(ARGS)

bench-quick: bench-build
	@$(OWN) target/release/bench table --quick --out target/bench-quick.json $(ARGS)

bench-check:
	@scripts/setup bench-check
	@$(OWN) cargo build --release --locked -p bench --bin bench --example instructions
	@$(OWN) target/release/bench instructions $(ARGS)

bench-build: release
	@scripts/bench-peers
	@$(OWN) cargo build --release --locked -p bench --bin bench

setup:
	@scripts/setup
