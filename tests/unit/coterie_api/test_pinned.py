"""A policy in the file of the key: read whole, or refused; and never parted from the key."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from coterie_api.pinned import MARK, UnusablePolicy, pin, pinned
from coterie_api.podconfig import TenantPolicy

KEY = Ed25519PrivateKey.generate()
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
STRICT = TenantPolicy(True, 5, 4, 1, 32, 65536, 0.5, {f"hospital-{i}": "A" * 43 + "=" for i in range(40)})


@pytest.mark.parametrize("policy", [TenantPolicy(), STRICT])
def test_a_pinned_policy_reads_back_and_the_key_beside_it_loads(policy: TenantPolicy) -> None:
    content = pin(PEM, policy)

    assert pinned(content) == policy
    assert load_pem_private_key(content, None).public_key() == KEY.public_key()
    assert max(map(len, content.splitlines())) <= 64


def test_the_order_of_the_blocks_and_the_ends_of_lines_do_not_matter() -> None:
    block = pin(b"", STRICT).lstrip()
    for content in (block + PEM, pin(PEM, STRICT).replace(b"\n", b"\r\n")):
        assert pinned(content) == STRICT
        assert load_pem_private_key(content, None).public_key() == KEY.public_key()


def test_a_key_without_a_policy_pins_none() -> None:
    assert pinned(PEM) is None


def block(document: str) -> bytes:
    return f"-----BEGIN {MARK}-----\n{base64.b64encode(document.encode()).decode()}\n-----END {MARK}-----\n".encode()


WHOLE = pin(PEM, STRICT)
SPOILED: dict[str, bytes] = {
    "an end that is missing": WHOLE.replace(b"-----END COTERIE", b"-----END"),
    "a beginning that is missing": WHOLE.replace(b"-----BEGIN COTERIE", b"-----BEGIN"),
    "a mark in small letters": WHOLE.replace(b"COTERIE POLICY", b"coterie policy"),
    "a mark with fewer dashes": WHOLE.replace(b"-----BEGIN COTERIE", b"----BEGIN COTERIE"),
    "two policies": pin(WHOLE, TenantPolicy()),
    "a byte that is not base64": WHOLE.replace(b"POLICY-----\neyJ", b"POLICY-----\ne!J"),
    "half of it": WHOLE.replace(b"POLICY-----\neyJ", b"POLICY-----\n"),
    "an unknown field": PEM + block('{"minimumClients": 5}'),
    "a negative limit, which would be none": PEM + block('{"scale": -1}'),
    "a limit that is no number": PEM + block('{"clip": NaN}'),
    "a limit of another type": PEM + block('{"threshold": "5"}'),
    "a list": PEM + block("[]"),
    "nothing": PEM + block(""),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_policy_that_can_not_be_read_is_never_taken_for_none(how: str) -> None:
    with pytest.raises(UnusablePolicy, match="pinned policy") as raised:
        pinned(SPOILED[how])

    assert "PRIVATE" not in str(raised.value)


@given(st.binary(max_size=200) | st.binary(max_size=80).map(lambda data: PEM + b"-----BEGIN COTERIE POLICY-----\n" + data))
def test_any_bytes_are_no_policy_or_refused_by_name(content: bytes) -> None:
    try:
        found = pinned(content)
    except UnusablePolicy:
        return
    assert found is None
    assert MARK.encode() not in content.upper()


@pytest.mark.parametrize(("document", "field"), [({"clip": -0.5}, "clip"), ({"members": {"a": 5}}, "members")])
def test_the_field_at_fault_is_named(document: dict[str, Any], field: str) -> None:
    with pytest.raises(UnusablePolicy, match=field):
        pinned(block(json.dumps(document)))
