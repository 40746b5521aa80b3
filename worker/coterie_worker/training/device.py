"""Where a worker computes, and with how many threads."""

from __future__ import annotations

import os

import torch

from coterie_api.names import ENV_THREADS


def choose_device() -> torch.device:
    """CUDA if the pod has it."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def limit_threads() -> None:
    """Give torch as many threads as COTERIE_THREADS says, or one.

    One is the default because several clients may share a machine, where torch's own guess, all cores for each of them,
    makes them wait for each other at every operation.

    Raises:
        ValueError: COTERIE_THREADS is no positive number.
    """
    text = os.environ.get(ENV_THREADS, "") or "1"
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(f"{ENV_THREADS}={text!r}, allowed: a whole number from 1")
    torch.set_num_threads(int(text))
