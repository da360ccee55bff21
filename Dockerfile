# Not tested by .ci/run: build it with docker build -t clerk-lake .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 clerk-lake
COPY --from=build /src/target/release/clerk-lake /usr/local/bin/clerk-lake
USER clerk-lake
WORKDIR /home/clerk-lake
ENTRYPOINT ["clerk-lake"]
CMD ["help"]
