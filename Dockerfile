# docker build -t bounced .
# docker run -d --name bounced -v bounced:/var/lib/bounced -v ./bounced.toml:/etc/bounced/bounced.toml:ro bounced
# docs/operations.md tells about secrets and about giving the published list to a mail server.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release --bin bounced

# A shell stays in the image: passwords may come from a command.
FROM debian:bookworm-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/bounced /usr/local/bin/bounced
RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/bounced --shell /usr/sbin/nologin bounced \
    && install --directory --owner bounced --group bounced --mode 0755 /var/lib/bounced
USER 10001
WORKDIR /var/lib/bounced
VOLUME /var/lib/bounced
HEALTHCHECK --interval=1m --timeout=10s --start-period=2m CMD ["bounced", "status"]
ENTRYPOINT ["bounced"]
CMD ["run"]
