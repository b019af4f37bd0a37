"""The images have what a node needs; a lab of them has no privileges and leaves nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import bgphealth
from lab import docker, drivers, dual_tor, images, state
from lab.convergence import wait_until

PROGRAMS = "bgphealth exabgp ip nft nsenter ping ps python3 setsid tcpdump timeout vtysh"


def inside(image: str, script: str) -> str:
    """Run a script in a container of its own."""
    done = docker.run("docker", "run", "--rm", "--network=none", image, "sh", "-ec", script)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("tag", "frr"), [("frr8.4", "8.4"), ("frr10.3", "10.3")])
def test_an_image_has_what_a_node_needs(tag: str, frr: str) -> None:
    image = f"{images.NAME}:{tag}"

    assert f"version {frr}" in inside(image, "/usr/lib/frr/bgpd --version")
    assert inside(image, "bgphealth --version") == f"bgphealth {bgphealth.__version__}\n"
    assert "ExaBGP : 5." in inside(image, "exabgp version")
    inside(image, f"for program in {PROGRAMS}; do command -v $program; done")
    inside(image, "python3 -c 'import dns, httpx, lab.agents.traffic, pyroute2'")


def test_the_latest_is_the_oldest() -> None:
    found = docker.run("docker", "image", "inspect", "--format", "{{.Id}}", f"{images.NAME}:latest")
    wanted = docker.run("docker", "image", "inspect", "--format", "{{.Id}}", images.LATEST.name)
    assert found.stdout == wanted.stdout != ""


def test_nothing_is_built_again() -> None:
    said: list[str] = []
    images.build(said.append)
    assert said == []


def test_process_one_reaps_what_is_left_to_it() -> None:
    started = docker.run("docker", "run", "--detach", "--rm", "--network=none", images.LATEST.name)
    assert started.returncode == 0, started.stderr
    node = started.stdout.strip()

    def left() -> list[str]:
        listed = docker.run("docker", "exec", node, "ps", "-e", "-o", "stat=,args=")
        assert listed.returncode == 0, listed.stderr
        return [
            line for line in listed.stdout.splitlines() if line.startswith("Z") or " 0.1" in line
        ]

    try:
        forked = docker.run("docker", "exec", node, "setsid", "--fork", "sleep", "0.1")
        assert forked.returncode == 0, forked.stderr
        wait_until("the orphan is gone", left)
    finally:
        docker.run("docker", "rm", "--force", node)


def host() -> list[str]:
    """Return what a lab could leave on this machine, beside Docker and here."""
    script = "ip -brief link; ls /run/netns /etc/ssh/ssh_config.d; cat /etc/hosts; docker ps -aq"
    there = docker.run("sh", "-c", f"{script}; docker network ls --format '{{{{.Name}}}}'")
    here = subprocess.run(
        ["ip", "-brief", "link"], check=True, capture_output=True, text=True
    ).stdout
    return [there.stdout, here, Path("/etc/hosts").read_text(encoding="utf-8")]


def test_a_lab_has_no_privileges_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(state.ENVIRONMENT_VARIABLE, str(tmp_path / "state"))
    before = host()
    lab = drivers.of(dual_tor.NAME, "containerlab")
    lab.up()
    try:
        containers = set(docker.run("docker", "ps", "--quiet").stdout.split())
        asked = docker.run("docker", "inspect", *containers - set(before[0].split()))
        found = json.loads(asked.stdout)
        assert len(found) == len(lab.topology.nodes)
        for container in found:
            assert container["HostConfig"]["Privileged"] is False
            added = {name.removeprefix("CAP_") for name in container["HostConfig"]["CapAdd"]}
            assert added == {"NET_ADMIN", "SYS_ADMIN"}
            assert container["HostConfig"]["NetworkMode"] == "none"
    finally:
        lab.down()
    assert host() == before
    assert not (tmp_path / "state").exists()
