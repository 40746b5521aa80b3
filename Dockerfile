# Two images from one source: `operator` (control plane and aggregators, no torch) and `worker` (clients, evaluators, initialize).
# `make images` builds both; docs/images.md tells how to choose a torch and how to put code on top.
#
# Both run as any user id with group 0, on a read-only root file system with a writable /tmp; no entry point and no probe needs a
# shell. Dependencies are layers of their own, made in place and keyed by what pyproject.toml and constraints.txt say of them, so that
# a change of source never installs torch again.
ARG PYTHON_IMAGE=python:3.13-slim

# What each target needs, read out of pyproject.toml: other changes of that file leave the dependencies' layers alone.
FROM ${PYTHON_IMAGE} AS requirements
WORKDIR /requirements
COPY pyproject.toml constraints.txt ./
RUN python3 -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
    [open(f'{target}.txt', 'w').writelines(f'{each}\n' for each in project['dependencies'] + project['optional-dependencies'][target]) \
     for target in ('operator', 'worker')]"
# `torch` alone means the version of constraints.txt. Another requirement, as `torch==2.15.0+cpu`, takes the place of that pin and of its CUDA packages'.
ARG TORCH=torch
RUN echo "$TORCH" >> worker.txt; cp constraints.txt worker-constraints.txt; \
    if [ "$TORCH" != torch ]; then sed -Ei '/^(torch|triton|cuda|nvidia)[a-z0-9-]*==/d' worker-constraints.txt; fi

# The package itself, without dependencies, below /operator and /worker. Tools stay in this stage.
FROM ${PYTHON_IMAGE} AS build
ENV PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY constraints.txt ./
RUN python3 -m venv --without-pip /opt/coterie && python3 -m venv /tools && /tools/bin/pip install --constraint constraints.txt hatchling
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY operator operator
COPY worker worker
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /tools/bin/pip --python /opt/coterie/bin/python install --no-deps --no-index --no-compile --root /operator /wheel/*.whl \
 && /opt/coterie/bin/python -m compileall -q -s /operator -p / --invalidation-mode unchecked-hash /operator \
# A client holds no control plane, not even as files.
 && cp -a /operator /worker && rm -r /worker/opt/coterie/bin/coterie /worker/opt/coterie/lib/python3*/site-packages/coterie_operator

FROM ${PYTHON_IMAGE} AS runtime
# HOME and the user's name are given, since an arbitrary user id has neither; nothing is written beside the code.
ENV PATH=/opt/coterie/bin:$PATH HOME=/tmp USER=coterie LOGNAME=coterie PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 PIP_PYTHON=/opt/coterie/bin/python
WORKDIR /tmp
# The official images of Python come without the standard library's bytecode, and a read-only root never gets it.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash -x '/(test|tests|lib2to3|idlelib|turtledemo|ensurepip|site-packages|dist-packages)/' \
    "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

FROM runtime AS operator-dependencies
COPY --from=requirements /requirements/operator.txt /requirements/constraints.txt /opt/coterie/
RUN python3 -m venv --without-pip /opt/coterie && python3 -m venv /tmp/tools \
 && /tmp/tools/bin/pip --disable-pip-version-check --python /opt/coterie/bin/python install --no-cache-dir --no-compile \
    --constraint /opt/coterie/constraints.txt --requirement /opt/coterie/operator.txt \
 && cd /opt/coterie/lib/python3*/site-packages && rm -rf /tmp/tools */tests */*/tests \
# Bytecode, since a read-only root never gets it later. Some packages carry templates that no Python compiles, and nobody imports.
 && { /opt/coterie/bin/python -m compileall -qq -j 0 --invalidation-mode unchecked-hash . || true; } \
# The control plane must stay slim: a dependency that drags torch in fails the build, not the memory limit of the pod.
 && if [ -e torch ]; then echo 'torch is in the operator image' >&2; exit 1; fi

FROM runtime AS worker-dependencies
# A second index, for torch builds that the default one lacks.
ARG TORCH_INDEX=""
# `false` drops what only a GPU would use, for indexes that serve torch with CUDA alone. A build of torch for CPUs is smaller still.
ARG GPU=true
COPY --from=requirements /requirements/worker.txt /opt/coterie/
COPY --from=requirements /requirements/worker-constraints.txt /opt/coterie/constraints.txt
RUN python3 -m venv --without-pip /opt/coterie && python3 -m venv /tmp/tools \
 && /tmp/tools/bin/pip --disable-pip-version-check --python /opt/coterie/bin/python install --no-cache-dir --no-compile \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --constraint /opt/coterie/constraints.txt --requirement /opt/coterie/worker.txt \
 && cd /opt/coterie/lib/python3*/site-packages && rm -rf /tmp/tools */tests */*/tests torch/bin/protoc* \
 && case "$GPU" in true) ;; \
# All of it is opened when first used, unlike the other libraries of CUDA, without which `import torch` fails.
    false) rm -rf triton cuda nvidia/cudnn/lib/libcudnn_* nvidia/cu*/lib/libcusolver* nvidia/cu*/lib/libnvperf* nvidia/cu*/lib/libnvrtc-builtins* \
           nvidia/cu*/bin nvidia/cu*/nvvm nvidia/*/include nvidia/nvshmem/bin nvidia/nvshmem/lib/*.bc nvidia/nvshmem/lib/*.a \
           torch/include torch/share torch/lib/libtorch_cuda_linalg.so ;; \
    *) echo "GPU is $GPU, which is neither true nor false" >&2; exit 1 ;; esac \
 && { /opt/coterie/bin/python -m compileall -qq -j 0 --invalidation-mode unchecked-hash . || true; }

FROM operator-dependencies AS operator
COPY --from=build /operator/opt/coterie /opt/coterie
USER 65532:0
ENTRYPOINT ["coterie"]
CMD ["operator"]
ARG PYTHON_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="coterie operator" \
      org.opencontainers.image.description="Control plane and aggregators of Coterie, federated training on Kubernetes; no torch" \
      org.opencontainers.image.source="https://github.com/coterie/coterie" \
      org.opencontainers.image.documentation="https://github.com/coterie/coterie/blob/main/docs/images.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM worker-dependencies AS worker
# Where an image on top puts its task: on the import path, and nowhere that a pod can write.
ENV PYTHONPATH=/opt/task
COPY --from=build /worker/opt/coterie /opt/coterie
USER 65532:0
ENTRYPOINT ["python", "-m", "coterie_worker"]
ARG PYTHON_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="coterie worker" \
      org.opencontainers.image.description="Clients, evaluators and initialize of Coterie, federated training on Kubernetes; the base of tasks' images" \
      org.opencontainers.image.source="https://github.com/coterie/coterie" \
      org.opencontainers.image.documentation="https://github.com/coterie/coterie/blob/main/docs/images.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
