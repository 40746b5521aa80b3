"""Writes vectors.json: made by coterie_worker.secagg, checked by test_masks.py with pycryptodome.

Run `python tests/unit/coterie_worker/secagg/make_vectors.py` from the repository's root when the protocol's version changes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from coterie_worker.secagg.contexts import header_hash
from coterie_worker.secagg.dealing import Kind, commit_share
from coterie_worker.secagg.keys import OneUse
from coterie_worker.secagg.masks import apply_masks, pair_mask_key, self_mask_key
from coterie_worker.secagg.messages import SlotStart


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


HEADER = SlotStart(_hash("sid"), 7, _hash("model"), (0, 2, 3, 5), 1_800_000_000_000, 1_000_003, _hash("previous"))


def mask_vector(name: str, ids: list[int]) -> dict[str, Any]:
    secret, hdr = _hash(f"secret {name}"), header_hash(HEADER)
    made = self_mask_key(HEADER, hdr, ids[0], secret) if len(ids) == 1 else pair_mask_key(HEADER, hdr, (ids[0], ids[1]), secret)
    key, mask = made.take(), np.zeros(8, np.uint32)
    apply_masks(mask, [OneUse(key, "key")], [])
    header = {
        "sid": HEADER.sid.hex(),
        "slot": HEADER.slot,
        "model_hash": HEADER.model_hash.hex(),
        "participants": list(HEADER.participants),
        "deadline": HEADER.deadline,
        "length": HEADER.length,
        "previous_result": HEADER.previous_result.hex(),
    }
    facts = {"name": name, "ids": ids, "secret": secret.hex(), "header": header}
    return {**facts, "header_hash": hdr.hex(), "key": key.hex(), "mask": mask.tolist()}


def commitment_vector(name: str, dealer: int, holder: int, slot: int, kind: Kind) -> dict[str, Any]:
    share = b"\0" + _hash(f"share {name}")
    made = commit_share(_hash("sid"), (dealer, holder, slot, kind), share).hex()
    facts = {"name": name, "sid": _hash("sid").hex(), "dealer": dealer, "holder": holder, "slot": slot, "kind": kind.value}
    return {**facts, "share": share.hex(), "commitment": made}


def main() -> None:
    """Write the file."""
    masks = [mask_vector("self", [2]), mask_vector("pair, ascending", [0, 5]), mask_vector("pair, descending", [5, 3])]
    commitments = [commitment_vector("seed", 0, 5, 7, Kind.SEED), commitment_vector("mask key", 199, 0, 2**62, Kind.MASK_KEY)]
    provenance = "made by make_vectors.py (coterie_worker.secagg), verified by test_masks.py (pycryptodome, cbor2)"
    content = {"version": 1, "provenance": provenance, "masks": masks, "commitments": commitments}
    Path(__file__).with_name("vectors.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
