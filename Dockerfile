# One image a service: `docker build --build-arg SERVICE=profile .`
# Recommend's training: `--build-arg SERVICE=recommend --build-arg REQUIREMENTS=training`.
FROM python:3.11-slim-trixie AS build
WORKDIR /build
COPY requirements/uv.txt ./
RUN pip install --no-cache-dir --require-hashes -r uv.txt

ARG SERVICE
ARG REQUIREMENTS=${SERVICE}
# Before the code: a change to the code leaves this layer as it is.
COPY requirements/${REQUIREMENTS}.txt ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv venv /venv && \
    uv pip sync --python /venv --link-mode copy --require-hashes --compile-bytecode "${REQUIREMENTS}.txt"

COPY libs /app/libs
COPY services/__init__.py /app/services/
COPY services/${SERVICE} /app/services/${SERVICE}
# The root filesystem is read-only where it runs: compile now or at every start.
RUN python -m compileall -q /app

FROM python:3.11-slim-trixie
ARG SERVICE
# What the metric tessera_build_info tells.
ARG VERSION=unknown
LABEL org.opencontainers.image.title="tessera-${SERVICE}" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV SERVICE=${SERVICE} \
    TESSERA_VERSION=${VERSION} \
    PATH=/venv/bin:$PATH \
    PYTHONPATH=/app:/app/libs/contracts/src \
    PYTHONUNBUFFERED=1 \
    PYTHONFAULTHANDLER=1
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
# A number, so that `runAsNonRoot` can be checked.
USER 10001:10001
EXPOSE 50051 9090
# `python -m services.$SERVICE` without a shell, so that SIGTERM reaches Python itself.
ENTRYPOINT ["python", "-c", "import os, runpy; runpy.run_module('services.' + os.environ['SERVICE'], run_name='__main__', alter_sys=True)"]
CMD ["--role", "all"]
