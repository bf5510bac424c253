# syntax=docker/dockerfile:1
# The image: the release binary on a distroless base, without root and without a shell.
#
#   docker build -t ringdns .
#   docker run --rm --security-opt seccomp=docker/seccomp.json --ulimit memlock=-1 -p 127.0.0.1:5300:5300/udp -p 127.0.0.1:5300:5300/tcp ringdns
#
# The engines' default seccomp profile forbids io_uring; docker/seccomp.json permits it and less than the default
# otherwise. A configuration of your own: -v /etc/ringdns:/etc/ringdns:ro, and a HEALTHCHECK that asks a name of yours.

FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p ringdns

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/ringdns /usr/bin/ringdns
COPY docker/ringdns.toml /etc/ringdns/ringdns.toml
# The user nonroot, as the number that orchestrators want to see.
USER 65532:65532
EXPOSE 5300/udp 5300/tcp
# An answer is the proof: a name is asked, and must be there.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/bin/ringdns", "query", "@127.0.0.1:5300", "www.example.test", "A", "+check", "+timeout=2", "+tries=1"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/ringdns"]
CMD ["serve", "-c", "/etc/ringdns/ringdns.toml"]
