"""R1 in parts: masking a vector that is never in memory as a whole."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from coterie_worker.secagg.errors import BadVector, WrongStage
from coterie_worker.secagg.session import check_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from coterie_worker.secagg.masks import Masks, Run, Words

_ALIGNED = 4  # words of one AES block


class MaskedParts:
    """Masks each part in place as it is asked for; `signature` covers all of them once the last was taken.

    Memory: one part, whatever the length of the vector.
    """

    def __init__(
        self, parts: Iterable[Words], length: int, masks: Masks, submit: Callable[[bytes], bytes], threads: tuple[Run, int]
    ) -> None:
        self._parts = iter(parts)
        self._length = length
        self._masks = masks
        self._submit = submit
        self._run, self._shards = threads
        self._hash = hashlib.sha256()
        self._done = 0
        self._signature = b""

    def __iter__(self) -> Iterator[Words]:
        for part in self._parts:
            check_words(part)
            if self._done % _ALIGNED or self._done + len(part) > self._length:
                raise BadVector(
                    f"parts: {len(part)} words after {self._done} of {self._length}; all but the last are multiples of {_ALIGNED}"
                )
            self._masks.apply(part, self._done, run=self._run, shards=self._shards)
            self._hash.update(part.data)
            self._done += len(part)
            yield part
        if self._done != self._length:
            raise BadVector(f"parts: {self._done} words in all, expected {self._length}")
        self._signature = self._signature or self._submit(self._hash.digest())

    @property
    def signature(self) -> bytes:
        """The signature over the whole vector.

        Raises: WrongStage before the last part was taken.
        """
        if not self._signature:
            raise WrongStage(f"signature: {self._done} of {self._length} words are masked")
        return self._signature
