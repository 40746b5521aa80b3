"""Names that more than one process must agree on: API group, labels, mount paths, ports, exit codes."""

from __future__ import annotations

from typing import Final

GROUP: Final = "coterie.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

FINALIZER: Final = f"{GROUP}/cleanup"
MANAGED_BY: Final = "coterie"

# Identity is always the UID: names are longer than label values may be, and are reused.
LABEL_JOB_NAME: Final = f"{GROUP}/job-name"  # at most 40 characters, by validation
LABEL_JOB_NAMESPACE: Final = f"{GROUP}/job-namespace"
LABEL_JOB_UID: Final = f"{GROUP}/job-uid"
LABEL_ROLE: Final = f"{GROUP}/role"  # a value of Role in podconfig
LABEL_DATASET: Final = f"{GROUP}/dataset"
LABEL_ATTEMPT: Final = f"{GROUP}/attempt"  # decimal, from 0
ANNOTATION_SPEC_HASH: Final = f"{GROUP}/spec-hash"

SECRET_TYPE_TLS: Final = f"{GROUP}/tls"  # the only type of Secret that the operator may create

# Mount paths in every pod. A worker resolves them against its root folder, `/` unless COTERIE_ROOT says otherwise.
PATH_CONFIG: Final = "/etc/coterie/config"  # job.json, and role.json with what is meant for this pod alone
PATH_TLS: Final = "/etc/coterie/tls"  # ca.crt everywhere; tls.crt and tls.key in the aggregator
PATH_IDENTITY: Final = "/etc/coterie/identity"  # private.pem: the tenant's Ed25519 key, PKCS#8
PATH_DATA: Final = "/data"  # read-only
PATH_STATE: Final = "/state"  # the client's own record of used slots
PATH_CHECKPOINT: Final = "/checkpoint"
PATH_EVALUATION: Final = "/evaluation"  # evaluator → aggregator, an emptyDir
PATH_OUTPUT: Final = "/output"
PATH_TERMINATION: Final = "/dev/termination-log"
PATH_HOSTS: Final = "/etc/hosts"

FILE_JOB: Final = "job.json"
FILE_ROLE: Final = "role.json"

ENV_ROOT: Final = "COTERIE_ROOT"
ENV_THREADS: Final = "COTERIE_THREADS"  # how many threads a worker computes with

PORT_ROUNDS: Final = 8443  # gRPC over TLS: clients dial it
PORT_STATUS: Final = 8444  # HTTPS with client certificates: the operator reads /status
PORT_METRICS: Final = 9090  # plain HTTP: /metrics

EXIT_OK: Final = 0
EXIT_TERMINAL: Final = 64  # podFailurePolicy: FailJob, a retry can't help
EXIT_RETRY: Final = 70
