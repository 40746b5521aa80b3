# Two images from one source: `operator` (control plane and aggregator, no torch) and `worker` (clients, evaluator, initialize).
#
#   docker build --target operator -t ghcr.io/coterie/operator:0.1.0 .
#   docker build --target worker   -t ghcr.io/coterie/worker:0.1.0   .
#
# Both run as any user id with group 0, on a read-only root file system with a writable /tmp.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS source
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /opt/coterie
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY api api
COPY operator operator
COPY worker worker

FROM source AS build-operator
RUN /opt/coterie/bin/pip install --constraint constraints.txt '.[operator]'
# The control plane must stay slim: a dependency that drags torch in fails the build, not the memory limit of the pod.
RUN if /opt/coterie/bin/pip list --format=freeze | grep -i '^torch=='; then echo 'torch is in the operator image' >&2; exit 1; fi

FROM source AS build-worker
# The default index serves torch with CUDA (5 GB); `--build-arg PIP_EXTRA_INDEX_URL=…` may name one of CPU builds (0.7 GB).
ARG PIP_EXTRA_INDEX_URL=""
RUN /opt/coterie/bin/pip install --constraint constraints.txt '.[worker]'

FROM ${PYTHON_IMAGE} AS runtime
# Some libraries ask for the user's name, which an arbitrary user id doesn't have.
ENV PATH=/opt/coterie/bin:$PATH HOME=/tmp USER=coterie LOGNAME=coterie PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 65532:0

FROM runtime AS operator
LABEL org.opencontainers.image.title="coterie operator" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-operator /opt/coterie /opt/coterie
ENTRYPOINT ["coterie"]
CMD ["operator"]

FROM runtime AS worker
LABEL org.opencontainers.image.title="coterie worker" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-worker /opt/coterie /opt/coterie
ENTRYPOINT ["python", "-m", "coterie_worker"]
