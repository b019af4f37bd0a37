"""What ExaBGP says before anybody listens."""

from __future__ import annotations

import asyncio
import os

from bgphealth.daemon.lifeline import Lifeline


async def test_what_became_of_a_session_before_anybody_listened_is_heard() -> None:
    """A start takes a while, and ExaBGP says it once."""
    theirs, commands = os.pipe()
    replies, ours = os.pipe()
    lifeline = Lifeline()
    heard: list[str] = []
    with os.fdopen(replies, "rb") as stdin, os.fdopen(commands, "wb", buffering=0) as stdout:
        await lifeline.connect(stdin, stdout)
        os.write(ours, b"neighbor 127.0.0.1 connected\nneighbor 127.0.0.1 up\n")
        os.write(ours, b"neighbor 10.0.1.0 up\nneighbor 10.0.1.0 down - peer reset\nnonsense\n")
        await asyncio.sleep(0.05)
        lifeline.listen(heard.append)
        os.write(ours, b"done\n")
        async with asyncio.timeout(10):
            while "done" not in heard:
                await asyncio.sleep(0.001)
        lifeline.writer.close()
        os.close(theirs)
        os.close(ours)
        await asyncio.sleep(0.05)
    assert heard == ["neighbor 127.0.0.1 up", "neighbor 10.0.1.0 down - peer reset", "done"]
