# The gateway in an image: `docker build -t runs-gateway .`, with --build-arg EXTRAS='[temporal,otel]' for more runtimes.
# It runs as a user without privileges, and needs a read-only file system, but for its state, and /tmp with --workers.
ARG BASE=docker.io/library/python:3.13-slim-bookworm

FROM ${BASE} AS build
ARG EXTRAS=""
WORKDIR /source
# The environment of the gateway has no pip: the one beside it fills it.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/runs-gateway
COPY pyproject.toml README.md LICENSE ./
COPY generated generated
COPY gateway gateway
RUN /opt/pip/bin/python -m pip --python /opt/runs-gateway/bin/python install --no-cache-dir --disable-pip-version-check \
        ".${EXTRAS}" \
    && install -d -o 10001 -g 10001 -m 0700 /state

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=""
LABEL org.opencontainers.image.title="runs-gateway" \
    org.opencontainers.image.description="The runs methods of a workflow runtime over gRPC and JSON-RPC" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.source="https://github.com/runs-gateway/runs-gateway" \
    org.opencontainers.image.documentation="https://github.com/runs-gateway/runs-gateway/tree/main/docs"
COPY --from=build /opt/runs-gateway /opt/runs-gateway
COPY --from=build --chown=10001:10001 /state /var/lib/runs-gateway
# Other machines reach these addresses, so a gateway without identities or TLS does not start on them, unless
# RUNS_GATEWAY_INSECURE=true says that only its own network does.
ENV PATH="/opt/runs-gateway/bin:${PATH}" \
    HOME=/var/lib/runs-gateway \
    PYTHONDONTWRITEBYTECODE=1 \
    RUNS_GATEWAY_GRPC_ADDRESS=0.0.0.0:50051 \
    RUNS_GATEWAY_HTTP_ADDRESS=0.0.0.0:8080 \
    RUNS_GATEWAY_METRICS_ADDRESS=0.0.0.0:9464 \
    XDG_STATE_HOME=/var/lib \
    RUNS_GATEWAY_LOG_FORMAT=json
USER 10001:10001
WORKDIR /var/lib/runs-gateway
VOLUME /var/lib/runs-gateway
EXPOSE 50051 8080 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=6s --start-period=60s CMD ["runs-gateway", "health"]
ENTRYPOINT ["runs-gateway"]
CMD ["serve"]
