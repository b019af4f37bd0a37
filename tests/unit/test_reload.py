"""What a reload says: what was changed, what is refused, what is to be rendered again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from bgphealth.config.problems import InvalidFileError
from bgphealth.core.settings import (
    Bfd,
    FallbackSettings,
    InjectorLoss,
    Mode,
    Readers,
    ServiceSettings,
    Settings,
    SourcePolicy,
    SourceSettings,
    Timing,
    UplinkSettings,
)
from bgphealth.daemon import reload
from bgphealth.daemon.differences import in_words
from tests.support.hosts import host

FILE = Path("/etc/bgphealth/bgphealth.yaml")
FILES = ("/etc/a password", "/etc/another")
BFD = Bfd(None, 3, 0.3, 0.3, is_passive=False)
TIMING = Timing(1, 1, 3, 3)
WEB = ServiceSettings(
    "web", (ip_network("192.0.2.80/32"),), (), 0, TIMING, None, InjectorLoss.WITHDRAW
)


def settings(mode: Mode) -> Settings:
    """Return a host with passwords, whose uplinks say from where they are spoken to."""
    base = host(mode=mode)
    return replace(base, uplinks=tuple(_protected(uplink) for uplink in base.uplinks))


def _protected(uplink: UplinkSettings) -> UplinkSettings:
    paths = tuple(
        replace(path, probe_source=ip_address(f"10.0.{uplink.number}.1")) for path in uplink.paths
    )
    return replace(uplink, paths=paths, password_file=FILES[0])


def on_tor2(edit: Callable[[UplinkSettings], UplinkSettings]) -> Callable[[Settings], Settings]:
    def edited(before: Settings) -> Settings:
        first, second = before.uplinks
        return replace(before, uplinks=(first, edit(second)))

    return edited


OFF = FallbackSettings(enabled=False, table=17900, rule_priority=1790)


@pytest.mark.parametrize(
    ("edit", "with_frr", "direct"),
    [
        (lambda s: s, [], []),
        (lambda s: replace(s, suspect_interval_s=None), [], []),
        (lambda s: replace(s, services=(*s.services, WEB)), ["frr.conf"], []),
        (lambda s: replace(s, uplinks=s.uplinks[:1]), ["frr.conf"], ["exabgp.conf"]),
        (on_tor2(lambda u: replace(u, ttl_security=True)), ["frr.conf"], ["exabgp.conf"]),
        (on_tor2(lambda u: replace(u, bfd=BFD)), ["frr.conf"], []),
        (lambda s: replace(s, fallback=OFF), ["exabgp.service"], ["exabgp.service"]),
        (on_tor2(lambda u: replace(u, password_file=None)), ["frr.conf"], ["exabgp.conf"]),
        (on_tor2(lambda u: replace(u, password_file=FILES[1])), ["frr.conf"], ["exabgp.conf"]),
    ],
    ids=[
        "nothing",
        "timing",
        "service",
        "uplink",
        "ttl",
        "bfd",
        "fallback",
        "no password",
        "another password",
    ],
)
def test_what_is_to_be_rendered_again(
    edit: Callable[[Settings], Settings], with_frr: list[str], direct: list[str]
) -> None:
    for mode, wanted in ((Mode.FRR, with_frr), (Mode.DIRECT, direct)):
        before = settings(mode)
        assert reload.stale_files(before, edit(before), FILE) == wanted


def test_what_only_a_restart_can_change_is_refused() -> None:
    before = settings(Mode.FRR)
    after = replace(before, mode=Mode.DIRECT, host=replace(before.host, asn=65102))
    # What comes of another mode is not said as well.
    assert [line.partition(":")[0] for line in reload.refusals(before, after)] == ["mode"]
    after = replace(before, host=replace(before.host, asn=65102), control_socket="/run/s")
    assert [line.partition(":")[0] for line in reload.refusals(before, after)] == [
        "host.asn",
        "control.socket",
    ]
    assert reload.refusals(before, replace(before, uplinks=before.uplinks[:1])) == []


def test_what_is_refused_is_said_with_its_line(tmp_path: Path) -> None:
    before = settings(Mode.FRR)
    after = replace(before, control_group="no-such-group", host=replace(before.host, asn=65102))
    file = tmp_path / "bgphealth.yaml"
    file.write_text("version: 1\nhost:\n  asn: 65102\ncontrol: {group: no-such-group}\n")
    with pytest.raises(InvalidFileError) as caught:
        reload.load(file, before, lambda _: after)
    asn, group = str(caught.value).splitlines()
    assert asn.startswith(
        f"{file}:3: host.asn: 65101 became 65102, which needs 'bgphealth render all'"
    )
    assert group.startswith(f"{file}:4: control.group: there is no group no-such-group on this")


def test_what_was_changed_is_said_in_the_words_of_the_file() -> None:
    before = settings(Mode.FRR)
    first, second = before.uplinks
    after = replace(
        before,
        uplinks=(replace(first, interface="eth9", bfd=BFD),),
        services=(*before.services, WEB),
        path_timing=replace(before.path_timing, interval_s=1.0),
        suspect_interval_s=None,
        control_read=Readers.ALL,
        flush_conntrack=True,
    )
    assert in_words(before, before) == []
    lines = in_words(before, after)
    old = before.path_timing.interval_s
    assert f"uplinks.{second.name}: removed" in lines
    assert "uplinks.tor1.interface: eth1 became eth9" in lines
    assert "services.web: added" in lines
    assert f"paths.interval: {old:g} s became 1 s" in lines
    assert [line for line in lines if line.startswith("paths.suspect_interval: ")]
    assert "policy.flush_conntrack: false became true" in lines
    assert "control.read: group became all" in lines


def test_what_was_changed_is_named() -> None:
    before = settings(Mode.FRR)
    after = replace(
        before,
        uplinks=before.uplinks[:1],
        services=(before.services[0], WEB),
        suspect_interval_s=None,
        sources=SourceSettings(policies=(SourcePolicy(None, "tor1", is_strict=False),)),
    )
    assert reload.changes(before, before) == {}
    assert reload.changes(before, after) == {
        "uplinks_removed": ["tor2"],
        "services_added": ["web"],
        "services_removed": ["dns"],
        "sections_changed": ["paths", "sources"],
    }
