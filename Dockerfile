# Paths, user and arguments are those of Prometheus' image, so that swapping the image is enough.

FROM debian:bookworm AS build
WORKDIR /src
COPY . .
RUN ./dev build && strip build/release/varve

FROM debian:bookworm-slim
# tests/e2e/test_deploy.py compares this list with the libraries the binary needs.
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates \
        libabsl20220623 \
        libbrotli1 \
        libc-ares2 \
        libcpp-httplib0.11 \
        libcurl4 \
        libfmt9 \
        libjemalloc2 \
        libprometheus-cpp-core1.0 \
        libre2-9 \
        libroaring0 \
        librocksdb7.8 \
        libsimdjson14 \
        libsnappy1v5 \
        libspdlog1.10 \
        libssl3 \
        libstdc++6 \
        libxxhash0 \
        libyaml-cpp0.7 \
        libzstd1 \
        zlib1g \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log

COPY --from=build /src/build/release/varve /bin/varve
COPY deploy/docker/prometheus.yml /etc/prometheus/prometheus.yml
# Scripts and manifests that name the program go on working.
RUN ln -s varve /bin/prometheus \
    && mkdir /prometheus \
    && chown -R 65534:65534 /etc/prometheus /prometheus

USER 65534:65534
WORKDIR /prometheus
VOLUME ["/prometheus"]
EXPOSE 9090
STOPSIGNAL SIGTERM
ENTRYPOINT ["/bin/varve"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
