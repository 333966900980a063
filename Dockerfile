# A small image that runs as nobody. Build: docker build -t meridian .
# Run: docker run -v ./edge.yaml:/etc/meridian/edge.yaml:ro -p 53:53/udp -p 53:53 -p 443:443 meridian
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/meridian /usr/local/bin/meridian
COPY --from=build /src/LICENSE /usr/share/doc/meridian/LICENSE
# Runtimes other than Docker may keep ports under 1024 from users: give NET_BIND_SERVICE, or listen above.
# The admin API must listen on 127.0.0.1:9090 inside the container, or say elsewhere with MERIDIAN_ADMIN.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/local/bin/meridian", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/meridian"]
CMD ["serve", "--config", "/etc/meridian"]
