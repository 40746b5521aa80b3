"""Flower's own SecAgg+ primitives for one round; runs in an environment of its own, prints seconds of processor time as JSON.

Usage: python secagg_flower_peer.py CLIENTS DROPPED VALUES. The client's stages are Flower's functions for one client. The
aggregator's loop stands in the middle of its workflow and can't be called, so it is repeated here, line by line.
"""

# ruff: noqa: SLF001
from __future__ import annotations

import importlib
import json
import os
import sys
import time

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

import numpy as np
from flwr.common import ndarrays_to_parameters
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import encrypt, generate_shared_key
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_extract,
    get_parameters_shape,
    parameters_addition,
    parameters_mod,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import dequantize
from flwr.common.secure_aggregation.secaggplus_constants import Key
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen, share_keys_plaintext_concat
from flwr.supercore.primitives.asymmetric import bytes_to_private_key, bytes_to_public_key

# The package hides its module behind a function of the same name.
mod = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
CLIENTS, DROPPED, VALUES = (int(argument) for argument in sys.argv[1:4])
THRESHOLD = (CLIENTS + (-(-CLIENTS // 3) - 1)) // 2 + 1
CLIP, TARGET, MOD = 8.0, 1 << 22, 1 << 32  # Flower's defaults


def set_up(nid: int):
    state = mod.SecAggPlusState()
    state.nid = nid
    configs = {
        Key.SAMPLE_NUMBER: CLIENTS,
        Key.SHARE_NUMBER: CLIENTS,
        Key.THRESHOLD: THRESHOLD,
        Key.CLIPPING_RANGE: CLIP,
        Key.TARGET_RANGE: TARGET,
        Key.MOD_RANGE: MOD,
        Key.MAX_WEIGHT: 1000.0,
    }
    keys = mod._setup(state, configs)
    return state, (keys[Key.PUBLIC_KEY_1], keys[Key.PUBLIC_KEY_2])


def clock(call, *arguments):
    begin = time.process_time()
    result = call(*arguments)
    return result, time.process_time() - begin


def client(states, keys):
    """Seconds of client 0 for sharing keys and for its masked vector."""
    state = states[0]
    _, sharing = clock(mod._share_keys, state, {str(nid): pair for nid, pair in keys.items()})
    sources, texts = [], []
    share = bytes(52)
    for nid in range(1, CLIENTS):
        secret = generate_shared_key(bytes_to_private_key(states[nid].sk2), bytes_to_public_key(keys[0][1]))
        sources.append(nid)
        texts.append(encrypt(secret, share_keys_plaintext_concat(nid, 0, share, share)))
    parameters = ndarrays_to_parameters([np.zeros(VALUES, np.float32)])
    configs = {Key.CIPHERTEXT_LIST: texts, Key.SOURCE_LIST: sources}
    _, masking = clock(mod._collect_masked_vectors, state, configs, 100, parameters)
    return sharing, masking


def unmask(keys, shares, dead):
    """What SecAggPlusWorkflow.unmask_stage does once the shares are there."""
    masked = [np.ones(1, np.int64), np.zeros(VALUES, np.int64)]
    for nid, owned in shares.items():
        secret = combine_shares(owned)
        if nid not in dead:
            masked = parameters_subtraction(masked, pseudo_rand_gen(secret, MOD, get_parameters_shape(masked)))
            continue
        for neighbor in range(CLIENTS):
            if neighbor == nid or neighbor in dead:
                continue
            key = generate_shared_key(bytes_to_private_key(secret), bytes_to_public_key(keys[neighbor][0]))
            mask = pseudo_rand_gen(key, MOD, get_parameters_shape(masked))
            masked = parameters_addition(masked, mask) if nid > neighbor else parameters_subtraction(masked, mask)
    _, summed = factor_extract(parameters_mod(masked, MOD))
    return dequantize(summed, CLIP, TARGET)


def main() -> None:
    made = {nid: set_up(nid) for nid in range(CLIENTS)}
    states, keys = {nid: each[0] for nid, each in made.items()}, {nid: each[1] for nid, each in made.items()}
    sharing, masking = client(states, keys)
    dead = set(range(DROPPED))
    alive = CLIENTS - DROPPED
    secrets = {nid: states[nid].sk1 if nid in dead else os.urandom(32) for nid in range(CLIENTS)}
    shares = {nid: create_shares(secret, THRESHOLD, CLIENTS)[DROPPED : DROPPED + alive] for nid, secret in secrets.items()}
    _, server = clock(unmask, keys, shares, dead)
    print("SECONDS", json.dumps({"sharing": sharing, "masking": masking, "server": server}))


if __name__ == "__main__":
    main()
