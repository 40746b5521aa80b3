"""The tenant's own policy, in the file of its private key: whoever mounts the key brings the policy along.

The operator decides what a client's pod mounts, so a file of its own could be left out. It can't read or write the tenant's
Secret, and without the key there is no client: so the policy is one more PEM block of the very file that holds the key.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Final

from coterie_api.fields import canonical, parse
from coterie_api.podconfig import TenantPolicy

MARK: Final = "COTERIE POLICY"
WIDTH: Final = 64  # base64 characters of a line, as in every PEM file
_BLOCK: Final = re.compile(rf"^-----BEGIN {MARK}-----\r?\n([A-Za-z0-9+/=\r\n]+)^-----END {MARK}-----\r?$", re.MULTILINE)


class UnusablePolicy(Exception):
    """There is a pinned policy and it can't be read; then nothing may be done as if there were none."""


def pin(key: bytes, policy: TenantPolicy) -> bytes:
    """Return the content of the key's file with the policy in it."""
    body = base64.b64encode(canonical(policy)).decode()
    lines = [f"-----BEGIN {MARK}-----", *(body[at : at + WIDTH] for at in range(0, len(body), WIDTH)), f"-----END {MARK}-----"]
    return key.rstrip(b"\n") + b"\n" + "\n".join(lines).encode() + b"\n"


def pinned(content: bytes) -> TenantPolicy | None:
    """Return the policy in the content of a key's file, or None if the file speaks of none.

    Raises:
      UnusablePolicy: damaged, given twice, or with a field or value that this version does not know.
    """
    text = content.decode("ascii", errors="replace")
    if MARK not in text.upper():
        return None
    blocks = _BLOCK.findall(text)
    if len(blocks) != 1 or text.upper().count(MARK) != 2:
        raise UnusablePolicy(f"pinned policy: found {len(blocks)} whole PEM blocks named {MARK}, allowed is one, and no mention beside it")
    try:
        return parse(TenantPolicy, json.loads(base64.b64decode("".join(blocks[0].split()), validate=True)), where="pinned policy")
    except ValueError as error:  # InvalidObject is one
        raise UnusablePolicy(f"pinned policy: {error}") from None
