"""The session's constants, the rules that they must keep, and a tenant's policy on them.

Nothing here comes from the aggregator: the parameters are the job's, whose hash every signature covers, and the policies are
files of the tenant's own namespace. n is always the size of the pinned roster, never the number of those who showed up.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from coterie_worker.secagg import contexts
from coterie_worker.secagg.codec import MAX_PAYLOAD_BYTES
from coterie_worker.secagg.errors import InvalidParameters, PolicyRefused
from coterie_worker.secagg.graph import COMPLETE_UP_TO
from coterie_worker.secagg.messages import HASH_BYTES, KEY_BYTES, MAX_ROSTER, MAX_SLOTS_PER_EPOCH, SIGNATURE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coterie_api.podconfig import JobConfig, TenantPolicy

RING_BITS: Final = 32
RINGS: Final = (16, 32)
_ADVERT_BYTES: Final = 256 + SIGNATURE_BYTES  # beside the keys and commitments of its slots
LEAST_SURVIVORS: Final = 3  # of two survivors each learns the other's update


@dataclass(frozen=True, slots=True)
class Member:
    """One tenant of the pinned roster; its position there is its index in the protocol."""

    tenant: str
    public_key: bytes  # Ed25519, 32 bytes


@dataclass(frozen=True)
class SessionParameters:
    """The constants of a job's secure aggregation.

    threshold: t, how many shares rebuild a secret; colluders: c, how many clients may side with the aggregator;
    min_survivors: n_eff, fewest updates in any sum; scale: ring units per 1.0; slots_per_epoch: R, slots with keys.
    """

    job_uid: str
    spec_hash: bytes  # SHA-256 of job.json
    roster: tuple[Member, ...]
    threshold: int
    colluders: int
    min_survivors: int
    ring_bits: int = RING_BITS
    scale: int = 65536
    slots_per_epoch: int = 8

    @property
    def members(self) -> int:
        """n, the size of the pinned roster."""
        return len(self.roster)

    @property
    def quorum(self) -> int:
        """t_sig, how many must sign the same survivors: two quorums of this size have an honest client in common.

        As many as the threshold, so that a tenant's own one counts on a Harary graph too, where fewer hold shares.
        """
        return max(self.threshold, least_threshold(self.members, self.colluders))

    @property
    def is_sparse(self) -> bool:
        """Whether clients share masks along a Harary graph instead of with everybody."""
        return self.members > COMPLETE_UP_TO

    @property
    def clip(self) -> float:
        """The largest magnitude of a coordinate that one client adds to a sum; larger ones are clamped."""
        return float(((1 << (self.ring_bits - 1)) - 1) // self.members) / self.scale

    @cached_property
    def base(self) -> bytes:
        """Hash of all of it; two parties with the same base run the same session."""
        roster = contexts.digest(contexts.ROSTER, [[member.tenant, member.public_key] for member in self.roster])
        numbers = (self.threshold, self.colluders, self.min_survivors, self.ring_bits, self.scale, self.slots_per_epoch)
        return contexts.digest(contexts.PARAMETERS, self.job_uid, self.spec_hash, roster, *numbers)


def parameters_of(job: JobConfig, spec_hash: bytes) -> SessionParameters:
    """Return the parameters that `job.json` sets; `spec_hash` is SHA-256 of its bytes.

    Raises: ValueError for a public key that is not base64.
    """
    roster = tuple(Member(entry.namespace, base64.b64decode(entry.public_key, validate=True)) for entry in job.roster)
    sizes = job.aggregation
    return SessionParameters(
        job.job_uid,
        spec_hash,
        roster,
        sizes.threshold,
        sizes.colluders,
        sizes.min_survivors,
        sizes.ring_bits,
        sizes.scale,
        sizes.slots_per_epoch,
    )


def least_threshold(members: int, colluders: int) -> int:
    """Return ⌊(n+c)/2⌋+1, the least t for which 2t - n > c (secure-aggregation.md, parameters)."""
    return (members + colluders) // 2 + 1


def default_colluders(members: int) -> int:
    """Return c = ⌈n/3⌉-1, the most that leaves the threshold at two thirds."""
    return max(0, -(-members // 3) - 1)


def check_session(parameters: SessionParameters) -> None:
    """Raise InvalidParameters unless the roster and sizes make sense, with or without masks."""
    _within("roster size", parameters.members, 1, MAX_ROSTER)
    _within("slots per epoch", parameters.slots_per_epoch, 1, most_slots(parameters.members))
    _within("least survivors", parameters.min_survivors, 1, parameters.members)
    if parameters.ring_bits not in RINGS:
        raise InvalidParameters(f"ring bits: {parameters.ring_bits}, allowed is 16 or 32")
    _within("scale", parameters.scale, 1, 2 ** (RING_BITS - 1) - 1)
    _within("spec hash bytes", len(parameters.spec_hash), HASH_BYTES, HASH_BYTES)
    for member in parameters.roster:
        _within(f"public key bytes of {member.tenant}", len(member.public_key), KEY_BYTES, KEY_BYTES)
    _distinct("tenant", [member.tenant for member in parameters.roster])
    _distinct("public key", [member.public_key.hex() for member in parameters.roster])


def most_slots(members: int) -> int:
    """Return how many slots an epoch may have, so that all adverts fit one message."""
    return min(MAX_SLOTS_PER_EPOCH, (MAX_PAYLOAD_BYTES // max(1, members) - _ADVERT_BYTES) // (HASH_BYTES + KEY_BYTES))


def check_masked_session(parameters: SessionParameters) -> None:
    """Raise InvalidParameters unless the thresholds protect every honest client against `colluders` and the aggregator."""
    check_session(parameters)
    n, c, t = parameters.members, parameters.colluders, parameters.threshold
    _within("roster size", n, LEAST_SURVIVORS, MAX_ROSTER)
    _within("colluders", c, 0, n - 2)
    _within("threshold", t, least_threshold(n, c), n)
    _within("least survivors", parameters.min_survivors, max(t, c + 2, LEAST_SURVIVORS), n)


def check_policy(parameters: SessionParameters, policy: TenantPolicy, *, masked: bool, whose: str = "the tenant's policy") -> None:
    """Raise PolicyRefused where the job is weaker than the tenant allows; a limit of 0 allows everything."""
    if policy.secure_aggregation and not masked:
        raise PolicyRefused(f"secureAggregation.protocol: None, {whose} requires secure aggregation")
    least = [("least survivors", parameters.min_survivors, policy.min_clients), ("ring bits", parameters.ring_bits, policy.ring_bits)]
    if masked:
        least += [("threshold", parameters.threshold, policy.threshold), ("colluders", parameters.colluders, policy.colluders)]
    for what, found, required in least:
        if found < required:
            raise PolicyRefused(f"{what}: {found}, {whose} requires {required}")
    for what, value, most in (("scale", parameters.scale, policy.scale), ("clip", parameters.clip, policy.clip)):
        if 0 < most < value:
            raise PolicyRefused(f"{what}: {_number(value)}, {whose} allows {_number(most)}")
    _check_members(parameters, policy, whose)


def _check_members(parameters: SessionParameters, policy: TenantPolicy, whose: str) -> None:
    """An operator that could invent tenants would have its colluders; a tenant that lists the others ends that."""
    if not policy.members:
        return
    for member in parameters.roster:
        known = policy.members.get(member.tenant)
        if known is None:
            raise PolicyRefused(f"roster: {member.tenant} is in it, {whose} knows {len(policy.members)} tenants and not this one")
        if known != base64.b64encode(member.public_key).decode():
            raise PolicyRefused(f"roster: {member.tenant} has another public key than in {whose}")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _within(what: str, found: int, least: int, most: int) -> None:
    if not least <= found <= most:
        allowed = f"{least}" if least == most else f"{least} to {most}"
        raise InvalidParameters(f"{what}: {found}, allowed is {allowed}")


def _distinct(what: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise InvalidParameters(f"{what} {value} stands in the roster twice")
        seen.add(value)
