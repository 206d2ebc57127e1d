# Taskwire with its pages, for a PostgreSQL elsewhere (the embedded one is not in it). `scripts/as-dockerfile FOLDER` runs the
# COPY and RUN lines of the stages that build in a clean folder, without a container engine.

FROM node:22-bookworm-slim AS pages
WORKDIR /src
COPY schema.graphql ./
COPY scripts/web scripts/
COPY web web/
RUN scripts/web

FROM rust:1.95-slim-bookworm AS program
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs LICENSE-APACHE LICENSE-MIT ./
COPY .cargo .cargo/
COPY bench/Cargo.toml bench/
COPY bench/src bench/src/
# Nothing of it is built; cargo looks whether it is there.
COPY bench/benches bench/benches/
COPY entity entity/
COPY migration migration/
COPY src src/
COPY scripts/own-database scripts/release scripts/setup scripts/
COPY --from=pages /src/web/dist web/dist/
# What `taskwire --version` says was built: docker build --build-arg TASKWIRE_COMMIT="$(git rev-parse --short=12 HEAD)"
ARG TASKWIRE_COMMIT=unknown
# With a PostgreSQL and LLVM's llvm-profdata, which it installs in this stage: what it builds is trained first.
RUN scripts/own-database scripts/release

FROM debian:bookworm-slim
# The certificates are for --jwks-url: today's, not those of a version that is written here.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=program /src/target/release/taskwire /usr/bin/taskwire
COPY --from=program /src/LICENSE-APACHE /src/LICENSE-MIT /usr/share/doc/taskwire/
# taskwire.toml here is the settings file.
WORKDIR /etc/taskwire
ENV TASKWIRE_LISTEN=0.0.0.0:8000
EXPOSE 8000 9000
# Nobody's number: no name is needed, and Kubernetes sees that it is not root.
USER 65532:65532
# Both signals end it within 10 s: give it more before it is killed.
STOPSIGNAL SIGTERM
ENTRYPOINT ["taskwire"]
CMD ["serve"]
