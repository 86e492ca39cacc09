# One image for each service: docker build --build-arg SERVICE=text --tag sensorium-text .
# SERVICE is text, vision, audio, fusion or orchestrator; docs/containers.md says more.

# Our own package as a wheel; it is the same for all services.
FROM python:3.12-slim AS package
# Without a network: put wheels into requirements/wheels, and pass PIP_ARGS="--no-index --find-links /requirements/wheels".
ARG PIP_ARGS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/build.txt /locks/
RUN --mount=type=bind,source=requirements,target=/requirements \
    pip install --no-deps --only-binary :all: --require-hashes ${PIP_ARGS} -r /locks/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY protos protos
COPY clients/python clients/python
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /dist .

# What a service needs, and nothing else: an environment without pip, the code, the models.
FROM python:3.12-slim AS build
ARG PIP_ARGS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
ARG SERVICE
# EXTRA=openvino takes OpenVINO's build of onnxruntime, for bf16 on CPUs with AMX: text, vision and audio.
ARG EXTRA=""
COPY requirements/${SERVICE}*.txt /locks/
RUN --mount=type=bind,source=requirements,target=/requirements \
    python -m venv --without-pip /opt/venv && \
    pip --python /opt/venv/bin/python install --no-deps --only-binary :all: --require-hashes ${PIP_ARGS} \
    -r "/locks/${SERVICE:?pass --build-arg SERVICE=text, vision, audio, fusion or orchestrator}${EXTRA:+-$EXTRA}.txt"
COPY --from=package /dist /dist
RUN pip --python /opt/venv/bin/python install --no-deps --no-index /dist/*.whl
WORKDIR /app
COPY shared shared
COPY services/__init__.py services/
COPY services/${SERVICE} services/${SERVICE}
COPY models models
# The probe runs as a file: through the package it would import the whole command line every few seconds.
COPY clients/python/sensorium/cli/probe.py ./
# Bytecode is made here, where it can be written. The orchestrator has no models.
RUN python -m compileall -q --invalidation-mode unchecked-hash shared services probe.py && \
    if [ "$SERVICE" = orchestrator ]; then rm -r models/*; fi

FROM python:3.12-slim
# Nothing is installed in a container that runs.
RUN pip uninstall --yes --quiet --root-user-action ignore pip
ARG SERVICE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sensorium-${SERVICE}" \
      org.opencontainers.image.description="The ${SERVICE} service of Sensorium: models for text, images and sound over gRPC" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/python:3.12-slim"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
# onnxruntime would report to its makers.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    SERVICE=${SERVICE} \
    SENSORIUM_HOST=0.0.0.0
WORKDIR /app
# A number, so that runAsNonRoot can be checked without the image's /etc/passwd.
USER 10001:10001
EXPOSE 8001 8002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["sh", "-c", "exec python -P /app/probe.py --service \"$SERVICE\" --timeout 3"]
# exec, so that SIGTERM reaches Python; arguments of the container are flags of the service.
ENTRYPOINT ["sh", "-c", "exec python -P -m \"services.$SERVICE\" \"$@\"", "sensorium"]
