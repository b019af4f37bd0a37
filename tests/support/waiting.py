"""Wait for what a task does in the background, by looking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest


async def until(true: Callable[[], object]) -> None:
    """Poll until the call returns something true."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def background(run: Coroutine[object, object, object]) -> AsyncIterator[None]:
    """Run something that goes on until it is cancelled, which must be all that ends it."""
    task = asyncio.create_task(run)
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
