from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack

from bgphealth.exabgp import pipe


async def test_lines_come_whole_however_they_were_cut() -> None:
    lines: list[str] = []
    reader = pipe.LineReader(lines.append, lambda: None)
    for piece in (b"do", b"ne\nerr", b"or\n\n", b"sh\xffut", b"down\n"):
        reader.data_received(piece)
    assert lines == ["done", "error", "sh�utdown"]


async def test_a_line_without_end_is_dropped_not_kept() -> None:
    lines: list[str] = []
    reader = pipe.LineReader(lines.append, lambda: None)
    for _ in range(100):
        reader.data_received(b"x" * 10_000)
    reader.data_received(b"\ndone\n")
    assert lines[-1] == "done"
    assert sum(map(len, lines)) < 100_000


async def test_a_full_pipe_does_not_block_the_loop_and_drains_when_read() -> None:
    loop = asyncio.get_running_loop()
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    gone = loop.create_future()
    lines: list[str] = []
    with ExitStack() as stack:
        stdin = stack.enter_context(os.fdopen(in_read, "rb", 0))
        stdout = stack.enter_context(os.fdopen(out_write, "wb", 0))
        writer = pipe.Writer()
        await pipe.connect(stdin, stdout, writer, lines.append, lambda: gone.set_result(None))
        data = b"announce\n" * 100_000
        writing = asyncio.create_task(writer.write(data))
        os.write(in_write, b"done\n")
        async with asyncio.timeout(5):
            while not lines:
                await asyncio.sleep(0)
        assert not writing.done()
        received = bytearray()
        while not writing.done() or len(received) < len(data):
            received += await asyncio.to_thread(os.read, out_read, 1 << 16)
        assert received == data
        os.close(in_write)
        async with asyncio.timeout(5):
            await gone
        writer.close()
        os.close(out_read)
        await asyncio.sleep(0)
