"""What a fuzzer's bytes decide."""

from __future__ import annotations


class Script:
    """Reads decisions off the fuzzer's bytes; zeros once they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def is_over(self) -> bool:
        return self._at >= len(self._data)

    def pick(self, options: int) -> int:
        self._at += 1
        return self._data[self._at - 1] % options if self._at <= len(self._data) else 0

    def take(self, size: int) -> bytes:
        taken, self._at = self._data[self._at : self._at + size], self._at + max(size, 1)
        return taken

    def rest(self) -> bytes:
        rest, self._at = self._data[self._at :], len(self._data)
        return rest
