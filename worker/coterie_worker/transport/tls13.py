"""Leaves gRPC in this process no TLS but 1.3; imported before gRPC, which reads the variable when it is imported.

gRPC for Python has no argument for the version. But servers of this room hold P-256 certificates, and of TLS 1.2 only a
suite for RSA certificates is allowed here, so no handshake of 1.2 can succeed. (Suites of 1.3 can't be configured and are
always on.)
"""

from __future__ import annotations

import os
import sys
from typing import Final

VARIABLE: Final = "GRPC_SSL_CIPHER_SUITES"
ONLY_RSA: Final = "ECDHE-RSA-AES128-GCM-SHA256"

_is_in_time: Final = "grpc" not in sys.modules or os.environ.get(VARIABLE) == ONLY_RSA
os.environ[VARIABLE] = ONLY_RSA


def require() -> None:
    """Raise RuntimeError if a server of this process could still speak TLS 1.2."""
    if not _is_in_time:
        raise RuntimeError(f"gRPC was imported before coterie_worker.transport, without {VARIABLE}={ONLY_RSA}: it would speak TLS 1.2")
