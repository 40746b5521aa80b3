"""From a Service's DNS name to addresses: the pod's hosts file first, then DNS, anew for each connection."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def hosts_addresses(hosts: Path, name: str) -> tuple[str, ...]:
    """Addresses of a name in a hosts file, in its order; none if the file is missing."""
    try:
        lines = hosts.read_text().splitlines()
    except FileNotFoundError:
        return ()
    fields = [line.partition("#")[0].split() for line in lines]
    return tuple(parts[0] for parts in fields if name in parts[1:])


async def addresses(hosts: Path, name: str, port: int) -> tuple[str, ...]:
    """Addresses of a name; raises OSError if neither the hosts file nor DNS knows it."""
    if known := hosts_addresses(hosts, name):
        return known
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
