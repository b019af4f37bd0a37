"""The files that are rendered, and whether FRR and ExaBGP take them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bgphealth.config import load
from bgphealth.core.errors import ConfigurationError
from bgphealth.exabgp import unit
from bgphealth.exabgp.render import render_conf, render_env
from bgphealth.fallback.nftables import render as render_nftables
from bgphealth.frr.render import render

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
ALL = sorted(file.parent.name for file in HERE.glob("*/bgphealth.yaml"))
HOSTS = [host for host in ALL if host != "local"]
FILE = Path("/etc/bgphealth/bgphealth.yaml")
PROGRAM = "/usr/bin/bgphealth"
OPT = "/opt/bgphealth/bin"
WITH_FRR = [host for host in HOSTS if host != "direct"]
PASSWORDS = {"direct": {"tor1": "not/a+secret="}, "three-uplinks": {"tor1": "not/a+secret="}}


def needed(program: str) -> str:
    """Return where a program is; without it CI fails, and elsewhere the test is skipped."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    found = shutil.which(program, path=places)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")
    return found


def frr_conf(host: str) -> str:
    return render(load(HERE / host / "bgphealth.yaml"), FILE, PASSWORDS.get(host, {}))


def exabgp_conf(host: str, program: str = PROGRAM) -> str:
    return render_conf(
        load(HERE / host / "bgphealth.yaml"), FILE, [program], PASSWORDS.get(host, {})
    )


def test_there_are_hosts_of_every_kind() -> None:
    assert HOSTS == [
        "direct",
        "dual-stack",
        "guarded",
        "ipv4-only",
        "ipv6-only",
        "services",
        "sources",
        "three-uplinks",
        "unnumbered",
    ]


@pytest.mark.parametrize("host", WITH_FRR)
def test_frr_conf(host: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{host}/frr.conf", frr_conf(host))


@pytest.mark.parametrize("host", HOSTS)
def test_exabgp_conf(host: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{host}/exabgp.conf", exabgp_conf(host))


def test_exabgp_env(golden: Callable[[str, str], None]) -> None:
    golden("exabgp.env", render_env(FILE))


def nftables(host: str, user: str = "exabgp") -> str:
    return render_nftables(load(HERE / host / "bgphealth.yaml"), FILE, user)


@pytest.mark.parametrize("host", ["direct", "sources", "unnumbered"])
def test_nftables(host: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{host}/bgphealth.nft", nftables(host))


def test_nftables_is_for_links_with_addresses() -> None:
    settings = load(HERE / "unnumbered" / "bgphealth.yaml")
    unnumbered = replace(settings, uplinks=settings.uplinks[:2])
    with pytest.raises(ConfigurationError, match="every uplink is unnumbered"):
        render_nftables(unnumbered, FILE, "exabgp")


@pytest.mark.parametrize("user", ["", "a b", "$x", '"', "ex;abgp", "-"])
def test_what_nft_would_not_take_as_a_user_is_refused(user: str) -> None:
    with pytest.raises(ConfigurationError):
        nftables("direct", user)


@pytest.mark.parametrize("interface", ["eth*", 'eth"', "a;b"])
def test_what_nft_would_not_take_as_one_interface_is_refused(interface: str) -> None:
    settings = load(HERE / "direct" / "bgphealth.yaml")
    odd = replace(settings.uplinks[0], interface=interface)
    with pytest.raises(ConfigurationError, match="cannot be written for nft"):
        render_nftables(replace(settings, uplinks=(odd,)), FILE, "exabgp")


def exabgp_service(host: str = "dual-stack", exabgp: str = "/opt/bgphealth/bin/exabgp") -> str:
    return unit.render(
        unit.needs(load(HERE / host / "bgphealth.yaml"), raw_icmp=False), places(exabgp)
    )


def places(exabgp: str) -> unit.Host:
    return unit.Host(
        file=FILE,
        exabgp=Path(exabgp),
        conf=Path("/etc/exabgp/exabgp.conf"),
        pid_file=Path("/run/bgphealth/bgphealth.pid"),
    )


def test_exabgp_service(golden: Callable[[str, str], None]) -> None:
    golden("exabgp.service", exabgp_service())


def bgphealth_service(program: str = "/opt/bgphealth/bin/bgphealth") -> str:
    needs = unit.needs(load(HERE / "local" / "bgphealth.yaml"), raw_icmp=False)
    return unit.render_alone(needs, unit.Alone(FILE, [program]))


def test_bgphealth_service(golden: Callable[[str, str], None]) -> None:
    golden("local/bgphealth.service", bgphealth_service())


SHIPPED = "../../bgphealth/share/systemd"


def test_what_packages_ship_is_what_is_rendered_for_any_file(
    golden: Callable[[str, str], None],
) -> None:
    golden(f"{SHIPPED}/exabgp.service", unit.render(unit.ANYTHING, places(f"{OPT}/exabgp")))
    alone = unit.Alone(FILE, [f"{OPT}/bgphealth"])
    golden(f"{SHIPPED}/bgphealth.service", unit.render_alone(unit.ANYTHING, alone))


EXPOSURE = {
    "exabgp.service": 2.0,
    "local/bgphealth.service": 1.9,
    f"{SHIPPED}/exabgp.service": 2.3,
    f"{SHIPPED}/bgphealth.service": 2.1,
}
"""From 0 to 10, as systemd 252 says."""


def edited(host: str, *pairs: tuple[str, str]) -> str:
    text = (HERE / host / "bgphealth.yaml").read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


NO_FALLBACK = ("uplinks:", "fallback: {enabled: false}\nuplinks:")
EXEC = ("uplinks:", "services: {s: {prefixes: [192.0.2.9/32], checks: [{exec: [/c]}]}}\nuplinks:")
TEXTFILE = ("uplinks:", "metrics: {textfile: /srv/metrics/b.prom}\nuplinks:")
ADDRESS = ("uplinks:", "services: {s: {prefixes: [192.0.2.9/32], address: add}}\nuplinks:")


@pytest.mark.parametrize(
    ("host", "edits", "raw_icmp", "needs"),
    [
        ("ipv4-only", [], False, {"net_admin"}),
        ("ipv4-only", [], True, {"net_admin", "net_raw"}),
        ("ipv4-only", [NO_FALLBACK], False, set()),
        ("ipv4-only", [NO_FALLBACK, ADDRESS], False, {"net_admin"}),
        ("ipv4-only", [EXEC], False, {"net_admin", "programs"}),
        ("ipv4-only", [TEXTFILE], False, {"net_admin", "directory"}),
        # Routers are asked to show themselves.
        ("unnumbered", [], False, {"net_admin", "net_raw"}),
        ("local", [], False, {"net_admin", "net_raw"}),
    ],
)
def test_what_a_file_needs(
    host: str,
    edits: list[tuple[str, str]],
    raw_icmp: bool,  # noqa: FBT001 - a parameter of a test
    needs: set[str],
    tmp_path: Path,
) -> None:
    file = tmp_path / "bgphealth.yaml"
    file.write_text(edited(host, *edits), encoding="utf-8")
    found = unit.needs(load(file), raw_icmp=raw_icmp)._asdict()
    assert {name for name, is_needed in found.items() if is_needed} == needs


def test_metrics_are_written_through_the_sandbox(tmp_path: Path) -> None:
    file = tmp_path / "bgphealth.yaml"
    file.write_text(edited("ipv4-only", TEXTFILE), encoding="utf-8")
    needs = unit.needs(load(file), raw_icmp=False)
    assert "\nReadWritePaths=-/srv/metrics\n" in unit.render(needs, places("/x"))
    with pytest.raises(ConfigurationError, match="cannot be written into"):
        unit.render(needs._replace(directory=Path("/srv/a b")), places("/x"))


def test_a_unit_that_needs_nothing_has_nothing() -> None:
    nothing = unit.Needs(net_admin=False, net_raw=False, programs=False)
    rendered = unit.render(nothing, places("/x")).splitlines()
    assert "CapabilityBoundingSet=" in rendered
    assert not any(line.startswith("AmbientCapabilities") for line in rendered)


def verify(text: str, directory: Path) -> subprocess.CompletedProcess[str]:
    file = directory / "tested.service"
    file.write_text(text, encoding="utf-8")
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", file],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


WITH_SYSTEMD = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd on this machine"
)


@WITH_SYSTEMD
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    for text in (exabgp_service(exabgp="/bin/true"), bgphealth_service("/bin/true")):
        done = verify(text, tmp_path)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


@WITH_SYSTEMD
@pytest.mark.parametrize(("unit_of", "exposure"), EXPOSURE.items())
def test_the_exposure_is_no_larger_than_the_documentation_says(
    unit_of: str, exposure: float, tmp_path: Path
) -> None:
    file = tmp_path / Path(unit_of).name
    file.write_bytes((HERE / unit_of).read_bytes())
    limit = f"--threshold={exposure * 10:.0f}"
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", limit, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    said = (HERE.parents[1] / "docs" / "security.md").read_text(encoding="utf-8")
    assert f"| {exposure} |" in said


@WITH_SYSTEMD
def test_systemd_would_say_so_if_it_did_not(tmp_path: Path) -> None:
    broken = exabgp_service(exabgp="/bin/true").replace("Type=notify", "Type=notified")
    assert "notified" in verify(broken, tmp_path).stderr


@pytest.mark.parametrize("exabgp", ["/opt/a b/exabgp", "/opt/%h/exabgp", "/opt/$X", "exabgp"])
def test_what_systemd_would_not_take_as_one_word_is_refused(exabgp: str) -> None:
    with pytest.raises(ConfigurationError):
        exabgp_service(exabgp=exabgp)
    with pytest.raises(ConfigurationError):
        bgphealth_service(exabgp)


def vtysh(conf: str, directory: Path) -> subprocess.CompletedProcess[str]:
    file = directory / "frr.conf"
    file.write_text(conf, encoding="utf-8")
    return subprocess.run(
        [needed("vtysh"), "-C", "-f", file], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.vtysh
@pytest.mark.parametrize("host", WITH_FRR)
def test_vtysh_takes_frr_conf(host: str, tmp_path: Path) -> None:
    done = vtysh(frr_conf(host), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.vtysh
def test_vtysh_would_say_so_if_it_did_not(tmp_path: Path) -> None:
    broken = frr_conf("dual-stack").replace(" set src ", " set source-of-all ")
    assert vtysh(broken, tmp_path).returncode != 0


@pytest.mark.contract
def test_exabgp_reads_exabgp_env(tmp_path: Path) -> None:
    if metadata.version("exabgp").startswith("4."):
        pytest.skip("ExaBGP 4 cannot print what it has read")
    file = tmp_path / "exabgp.env"
    file.write_text(render_env(FILE), encoding="utf-8")
    done = subprocess.run(
        [needed("exabgp"), "--env-file", file, "env", "-d"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"PATH": os.environ["PATH"]},
    )
    # `env -d` prints what differs from ExaBGP's own defaults.
    for line in ("[exabgp.api]", "terminate = true", "cli = false", "encoder = text"):
        assert line in done.stdout.splitlines(), done.stdout
