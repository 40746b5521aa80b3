"""When a certificate is due for a new one: pure arithmetic over its validity."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

BACKDATE = timedelta(minutes=5)  # so that a verifier whose clock is behind does not refuse a fresh certificate
RENEW_AFTER = 2 / 3  # as cert-manager does: a third of the life is left for failures of the renewal


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a certificate holds; both ends are aware datetimes."""

    not_before: datetime
    not_after: datetime

    @classmethod
    def of_days(cls, now: datetime, days: int) -> Validity:
        """Return a validity of `days` days from `now`, backdated by five minutes.

        Raises:
            ValueError: `days` is not positive.
        """
        if days < 1:
            raise ValueError(f"certificate validity is {days} days; it must be at least 1")
        return cls(now - BACKDATE, now + timedelta(days=days))

    @property
    def renewal(self) -> datetime:
        """When two thirds of the life are over."""
        return self.not_before + (self.not_after - self.not_before) * RENEW_AFTER

    def is_due(self, now: datetime) -> bool:
        """Whether a new certificate should be issued at `now`; true also for one that is not valid yet."""
        return now >= self.renewal or now < self.not_before
