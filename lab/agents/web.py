"""A small web server: ``python -m lab.agents.web ADDRESS PORT`` answers any request with ok.

Each line of stdin asks for one line of JSON: how many requests it has answered. The end of stdin
is the end. Without threads and without a log, so that it costs the machine little.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"


async def _run(address: str, port: int) -> None:
    ended = asyncio.Event()
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_ANSWER)
            await writer.drain()
            served += 1
        writer.close()

    def read() -> None:
        if os.read(0, 4096):
            print(json.dumps({"served": served}), flush=True)
        else:
            ended.set()

    async with await asyncio.start_server(serve, address, port):
        print(json.dumps({"ready": True}), flush=True)
        asyncio.get_running_loop().add_reader(0, read)
        await ended.wait()


def main() -> None:
    """Serve until the end of stdin."""
    asyncio.run(_run(sys.argv[1], int(sys.argv[2])))


if __name__ == "__main__":
    main()
