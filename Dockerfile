# Two stages: the first has uv and the sources, the second only what runs.
# A tag and not a digest: a rebuild then brings the security fixes of the base image.
FROM python:3.13-slim-bookworm AS base

FROM base AS builder
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON=/usr/local/bin/python3 \
    UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir --disable-pip-version-check uv==0.13.9
WORKDIR /app
# Dependencies first: they change seldom, so their layer is nearly always at hand.
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --extra tracing --no-install-project
# The package's metadata holds the README, hence it is needed to build.
COPY README.md ./
COPY server ./server
COPY migrations ./migrations
# Not editable: server and migrations go into the environment, which alone is taken along.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --extra tracing --no-editable

FROM base
LABEL org.opencontainers.image.title="Interview API" \
      org.opencontainers.image.description="Film catalogue, sign-in and streaming agent chat over gRPC" \
      org.opencontainers.image.licenses="MIT"
# A fixed number, so that a mounted folder can be given to it and runAsNonRoot can be checked.
RUN groupadd --gid 10001 interview \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data \
       --shell /usr/sbin/nologin interview \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
WORKDIR /app
COPY --from=builder /app/.venv /app/.venv
# Bytecode is compiled above, and nothing is written but in /data: the root may be read-only.
# On all addresses the server starts with TLS_CERTIFICATE_FILE and TLS_PRIVATE_KEY_FILE, or with
# ALLOW_PLAINTEXT=true. Whoever runs the image chooses.
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DATA_DIR=/data \
    HOST=0.0.0.0 \
    LOG_FORMAT=json
USER 10001:10001
VOLUME ["/data"]
# Calls, and /metrics in production.
EXPOSE 50051 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=8s --start-period=30s --retries=3 \
    CMD ["interview-server", "healthcheck"]
ENTRYPOINT ["interview-server"]
CMD ["serve"]
