# SPDX-License-Identifier: Apache-2.0
"""Bytes that say where they belong: an endless sequence for each connection.

A stream is made of blocks of 65,537 random bytes (a prime: in step with no buffer of anybody's); the first eight of each
say which block it is. So a piece lost, repeated, moved, or taken from another stream is seen wherever it lands.
"""

import random

BLOCK = 65_537


class Stream:
    """The bytes of one sender. Equal keys give equal streams."""

    def __init__(self, key: object) -> None:
        self.key = key
        self._body = random.Random(f"stream {key}").randbytes(BLOCK)[8:]

    def at(self, offset: int, length: int) -> bytes:
        """The `length` bytes from `offset` on."""
        first, skip = divmod(offset, BLOCK)
        last = (offset + length + BLOCK - 1) // BLOCK
        blocks = b"".join(number.to_bytes(8, "big") + self._body for number in range(first, last))
        return blocks[skip : skip + length]

    def mismatch(self, data: bytes, offset: int = 0) -> str:
        """Empty if `data` is what stands at `offset`; else where it first differs."""
        expected = self.at(offset, len(data))
        if data == expected:
            return ""
        place = next(i for i, (got, right) in enumerate(zip(data, expected)) if got != right)
        return (
            f"stream {self.key}: byte {offset + place} differs: got {data[place:place + 16].hex()}, "
            f"expected {expected[place:place + 16].hex()}"
        )
