"""Where the metrics can be read: nothing that goes wrong there may disturb anything else."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from bgphealth.core import engine
from bgphealth.core.settings import Listen, MetricsSettings, Settings
from bgphealth.daemon import metrics, scrape
from bgphealth.daemon.metrics import Metrics
from bgphealth.daemon.observer import Observer
from bgphealth.daemon.reload import Reloaded, ReloadOutcome
from bgphealth.daemon.snapshot import Known
from tests.support.hosts import host
from tests.support.metrics import known, read, value
from tests.support.waiting import until

LOOPBACK = ip_address("127.0.0.1")


@dataclass
class Run:
    """What the metrics are about, in the place of a program."""

    settings: Settings
    observer: Observer | None = None
    log: list[Any] = field(default_factory=list)
    last: Reloaded | None = None

    @property
    def known(self) -> Known:
        return known(engine.initial(self.settings), reload=self.last)

    def refuse(self) -> None:
        self.last = Reloaded(0.0, "SIGHUP", ReloadOutcome.REFUSED, ("wrong",))

    def said(self, event: str) -> list[Any]:
        return [entry for entry in self.log if entry["event"] == event]

    async def until(self, true: Callable[[], object]) -> None:
        try:
            await until(true)
        except TimeoutError:
            raise AssertionError(self.log) from None


@asynccontextmanager
async def exposing(of: MetricsSettings | None) -> AsyncIterator[tuple[Run, Metrics]]:
    """Expose metrics as a file would have it."""
    capture = LogCapture()
    run = Run(replace(host(), metrics=of))
    run.log = capture.entries
    exposed = Metrics(run, structlog.wrap_logger(None, processors=[capture]))
    task = asyncio.create_task(exposed.run())
    try:
        yield run, exposed
    finally:
        task.cancel()
        await asyncio.wait({task})


def reload(run: Run, exposed: Metrics, of: MetricsSettings | None) -> None:
    run.settings = replace(run.settings, metrics=of)
    exposed.configure(run.settings)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def over_http(port: int) -> MetricsSettings:
    return MetricsSettings(Listen(LOOPBACK, port), None, 15.0)


async def connect(port: int, of: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect from an address of its own."""
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.0.{of}", 0))


GET = b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n"


async def ask(port: int, request: bytes = GET, *, of: int = 1) -> bytes:
    reader, writer = await connect(port, of)
    try:
        writer.write(request)
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, Run, Metrics]]:
    port = free_port()
    async with exposing(over_http(port)) as (run, exposed):
        await run.until(lambda: run.said("metrics_listening"))
        yield port, run, exposed


async def test_prometheus_gets_what_it_reads() -> None:
    async with listening() as (port, _, _):
        head, _, body = (await ask(port)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in head
        assert f"\r\nContent-Length: {len(body)}\r\n".encode() in head
        assert value(read(body.decode()), "config_last_reload_successful") == 1
        assert (await ask(port, b"GET /metrics?x=1 HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/../etc HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics\r\n\r\n", 400),
        (b"\x16\x03\x01\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 10 * scrape.LONGEST_HEAD + b"\r\n\r\n", 431),
    ],
)
async def test_everything_else_is_refused(request_: bytes, status: int) -> None:
    async with listening() as (port, _, _):
        assert (await ask(port, request_)).startswith(b"HTTP/1.1 %d " % status)
        assert (await ask(port)).startswith(b"HTTP/1.1 200 OK")


async def test_who_connects_and_says_nothing_keeps_nobody_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scrape, "HEAD_S", 0.3)
    async with listening() as (port, _, _):
        silent = [await connect(port, number) for number in range(2, 22)]
        try:
            assert (await ask(port)).startswith(b"HTTP/1.1 200 OK")
        finally:
            for _, writer in silent:
                writer.close()


async def test_one_address_has_half_of_the_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "HEAD_S", 1000.0)
    async with listening() as (port, _, _):
        silent = [await connect(port, 2) for _ in range(2 * scrape.MOST_CLIENTS)]
        try:
            assert (await ask(port)).startswith(b"HTTP/1.1 200 OK")
            shut = [reader for reader, _ in silent if reader.at_eof()]
            assert len(shut) == 2 * scrape.MOST_CLIENTS - scrape.MOST_CLIENTS // 2
        finally:
            for _, writer in silent:
                writer.close()


async def test_who_does_not_read_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "PATIENCE_S", 0.3)
    monkeypatch.setattr(metrics, "FRESH_S", 0.0)

    async def much(_: Metrics) -> bytes:
        return b"x" * 20_000_000

    monkeypatch.setattr(Metrics, "_render", much)
    async with listening() as (port, _, _):
        deaf = [await connect(port, number) for number in range(2, 12)]
        try:
            for _, writer in deaf:
                writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert (await ask(port)).startswith(b"HTTP/1.1 200 OK")
        finally:
            for _, writer in deaf:
                writer.transport.abort()


async def test_all_who_ask_at_a_time_get_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    async def render(_: Metrics) -> bytes:
        nonlocal made
        made += 1
        return b"bgphealth_made %d\n" % made

    monkeypatch.setattr(Metrics, "_render", render)
    monkeypatch.setattr(metrics, "FRESH_S", 1000.0)
    async with listening() as (port, _, _):
        answers = await asyncio.gather(*(ask(port) for _ in range(5)))
        assert {answer.rpartition(b"\r\n")[2] for answer in answers} == {b"bgphealth_made 1\n"}


async def test_a_mistake_in_counting_is_said_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def render(_: Metrics) -> bytes:
        raise KeyError("a mistake")

    monkeypatch.setattr(metrics, "FRESH_S", 0.0)
    async with listening() as (port, run, _):
        with monkeypatch.context() as patch:
            patch.setattr(Metrics, "_render", render)
            assert (await ask(port)).startswith(b"HTTP/1.1 500 ")
            await run.until(lambda: run.said("metrics_failed"))
        assert (await ask(port)).startswith(b"HTTP/1.1 200 ")


async def test_a_mistake_in_exposing_is_said_and_it_begins_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[Observer] = []

    async def watch_lag(observer: Observer) -> None:
        begun.append(observer)
        if len(begun) == 1:
            raise KeyError("a mistake")
        await asyncio.Event().wait()

    monkeypatch.setattr(metrics, "RETRY_S", 0.01)
    monkeypatch.setattr(metrics, "_watch_lag", watch_lag)
    port = free_port()
    async with exposing(over_http(port)) as (run, _):
        await run.until(lambda: run.said("metrics_failed"))
        await run.until(lambda: run.log[-1]["event"] == "metrics_listening")
        assert (await ask(port)).startswith(b"HTTP/1.1 200 ")


async def test_a_port_in_use_is_said_once_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "RETRY_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        async with exposing(over_http(port)) as (run, _):
            await run.until(lambda: run.said("metrics_not_listening"))
            (said,) = run.said("metrics_not_listening")
            assert (said["why"], said["listen"]) == ("Address already in use", f"127.0.0.1:{port}")
            await asyncio.sleep(0.3)
            assert len(run.said("metrics_not_listening")) == 1
            other.close()
            await run.until(lambda: run.said("metrics_listening"))
            assert (await ask(port)).startswith(b"HTTP/1.1 200 ")


async def test_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "RETRY_S", 0.05)
    port = free_port()
    everywhere = Listen(ip_address("::"), port)
    async with exposing(MetricsSettings(everywhere, None, 15.0)) as (run, _):
        await run.until(lambda: run.said("metrics_listening"))
        assert (await ask(port)).startswith(b"HTTP/1.1 200 ")


async def test_a_reload_moves_it_turns_it_off_and_on() -> None:
    async with listening() as (port, run, exposed):
        first = run.observer
        assert first is not None
        other = free_port()
        reload(run, exposed, over_http(other))
        await run.until(lambda: len(run.said("metrics_listening")) > 1)
        assert (await ask(other)).startswith(b"HTTP/1.1 200 ")
        with pytest.raises(ConnectionError):
            await ask(port)
        assert run.observer is first  # What was counted is kept.
        reload(run, exposed, None)
        await run.until(lambda: run.observer is None)
        with pytest.raises(ConnectionError):
            await ask(other)
        reload(run, exposed, over_http(port))
        await run.until(lambda: len(run.said("metrics_listening")) > 2)
        assert (await ask(port)).startswith(b"HTTP/1.1 200 ")


async def test_a_reload_of_something_else_leaves_it_alone() -> None:
    async with listening() as (port, run, exposed):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        reload(run, exposed, run.settings.metrics)
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        assert len(run.said("metrics_listening")) == 1


def in_file(path: Path, interval_s: float = 0.02) -> MetricsSettings:
    return MetricsSettings(None, str(path), interval_s)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def test_the_file_is_whole_for_everybody_to_read_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "bgphealth.prom"
    before = os.umask(0o077)
    try:
        async with exposing(in_file(path)) as (run, _):
            await run.until(path.exists)
            assert path.stat().st_mode & 0o777 == 0o644
            run.refuse()

            def is_refused() -> bool:
                # Whenever it is read, it is whole.
                values = read(path.read_text(encoding="utf-8"))
                assert value(values, "exposition_timestamp_seconds")
                return value(values, "config_last_reload_successful") == 0

            await run.until(is_refused)
            assert {name for name in names(tmp_path) if name.endswith(".prom")} == {path.name}
    finally:
        os.umask(before)
    assert names(tmp_path) == set()


async def test_a_directory_that_is_not_there_is_said_once_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "later" / "bgphealth.prom"
    async with exposing(in_file(path)) as (run, _):
        await run.until(lambda: run.said("metrics_not_written"))
        await asyncio.sleep(0.2)
        (said,) = run.said("metrics_not_written")
        assert (said["file"], said["why"]) == (str(path), "No such file or directory")
        path.parent.mkdir()
        await run.until(path.exists)
        await run.until(lambda: run.said("metrics_written"))


async def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="utf-8")
    path = tmp_path / "bgphealth.prom"
    (tmp_path / ".bgphealth.prom.new").symlink_to(victim)
    path.symlink_to(victim)
    async with exposing(in_file(path)) as (run, _):
        await run.until(lambda: not path.is_symlink())
        assert run.said("metrics_not_written") == []
    assert victim.read_text(encoding="utf-8") == "mine"


async def test_the_lag_of_the_loop_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "TICK_S", 0.01)
    async with listening() as (_, run, _):
        assert run.observer is not None
        counted = run.observer.lags
        await run.until(lambda: sum(counted.counts) > 5)
        assert counted.sum >= 0


async def test_without_a_section_nothing_is_counted() -> None:
    async with exposing(None) as (run, _):
        await asyncio.sleep(0.01)
        assert run.observer is None
        assert run.log == []
