"""What vtysh printed, taken apart, put together again, and spoilt."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any


def objects(sample: bytes) -> list[dict[str, Any]]:
    """Return the JSON objects that it printed one after the other."""
    text, found = sample.decode(), []
    while text.strip():
        said, end = json.JSONDecoder().raw_decode(text := text.lstrip())
        found.append(said)
        text = text[end:]
    return found


def printed(said: Sequence[object]) -> bytes:
    """Return what it would have printed."""
    return "\n".join(json.dumps(each) for each in said).encode()


def spoilt(sample: bytes, *, times: int = 2000) -> Iterator[bytes]:
    """Yield the sample with a few pieces replaced by other bytes, each time elsewhere."""
    rng = random.Random(8)  # noqa: S311 - any bytes will do
    for _ in range(times):
        output = bytearray(sample)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(output))
            output[at : at + rng.randint(0, 6)] = rng.randbytes(rng.randint(0, 6))
        yield bytes(output)
