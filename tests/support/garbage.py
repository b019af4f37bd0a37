"""Outputs of programs with something wrong in them."""

from __future__ import annotations

import random
from collections.abc import Iterator


def spoilt(sample: bytes, *, times: int = 2000) -> Iterator[bytes]:
    """Yield the sample with a few pieces replaced by other bytes, each time elsewhere."""
    rng = random.Random(8)  # noqa: S311 - any bytes will do
    for _ in range(times):
        output = bytearray(sample)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(output))
            output[at : at + rng.randint(0, 6)] = rng.randbytes(rng.randint(0, 6))
        yield bytes(output)
