# Not tested with Docker: .ci/run does not build it.
#   docker build -t clerk-lake .
#   docker run --rm clerk-lake demo
#   docker run --rm -e CLERK_SECRET_KEY -v clerk-lake:/data clerk-lake sync
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
# The current directory holds the lake, ./clerk-lake-data. A named volume takes over its owner.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 clerk-lake \
    && install --directory --owner=clerk-lake --group=clerk-lake /data
COPY --from=build /src/target/release/clerk-lake /usr/local/bin/clerk-lake
USER clerk-lake
WORKDIR /data
ENTRYPOINT ["clerk-lake"]
CMD ["help"]
