"""Who is compared by ``python -m lab compare``: servers of ``dual-tor``, each with another program.

Everything else of the lab is the same for each: nodes, links, addresses, ToRs, core, service. What
a contender is told is in ``lab/peers/NAME``; why that is fair is in ``docs/compare.md``.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from lab import dual_tor, topology, watch
from lab.namespaces import ROOT

if TYPE_CHECKING:
    from lab.topology import Node, Topology

HERE: Final = topology.HERE / "peers"

HEALTHCHECKER: Final = ROOT / ".peers" / "anycast-healthchecker" / "bin" / "anycast-healthchecker"
"""Made by ``make .peers/anycast-healthchecker/ready``."""

_BOTH: Final = tuple(dual_tor.TOR_BEHIND.values())
_TOR2: Final = (dual_tor.TOR_BEHIND["eth2"],)
_PLAIN: Final = dual_tor.PLAIN[dual_tor.NAME]
_ALL: Final = frozenset(watch.ROUTES)


@dataclass(frozen=True, slots=True)
class Contender:
    """One program, or several together, and how they are told."""

    name: str
    title: str
    files: Mapping[str, str] = field(default_factory=dict)
    """By their place in the server: files below ``lab/peers``."""
    base: str = _PLAIN
    """The topology whose server it takes the place of."""
    moves: frozenset[str] = _ALL
    """The routes that it can take off a ToR that is alive and useless (names of `watch.ROUTES`)."""
    used: tuple[str, ...] = _BOTH
    """The ToRs that the server's default uses while all is well."""
    source_moves: bool = False
    """Whether the source moves with the default: what is opened then works, what was open waits."""
    period_s: float = 0.0
    """How long its checks are apart: the faults of several rounds are spread over that time."""
    settles_s: float = 1.0
    """How long after its routes are there it has counted enough answers."""
    round_s: float = 20.0
    """About how long a round of `uplink-blackhole` takes."""
    programs: Mapping[str, str] = field(default_factory=dict)
    """What must be installed: programs, and how they get there."""
    then: Mapping[str, str] = field(default_factory=dict)
    """A last command in some nodes."""
    tor_files: Mapping[str, str] = field(default_factory=dict)
    """As `files`, in both ToRs."""
    has_bfd: bool = False
    """Whether BFD must watch each of the server's sessions before anything is measured."""
    told: str | None = None
    """A line for the server's shell when the fault has been made: who detects nothing is told."""

    def missing(self) -> str | None:
        """Return why it cannot take part on this machine, None when it can."""
        absent = [f"{p} ({how})" for p, how in self.programs.items() if not shutil.which(p)]
        return f"not installed: {', '.join(absent)}" if absent else None


def _exabgp(name: str) -> dict[str, str]:
    return {
        "/etc/lab/start-server": "exabgp-healthcheck/start-server",
        "/etc/lab/default": "exabgp-healthcheck/default",
        "/etc/exabgp/exabgp.conf": f"{name}/exabgp.conf",
        **_CHECKING,
    }


def _bird(name: str) -> dict[str, str]:
    return {
        "/etc/lab/start-server": "anycast-healthchecker/start-server",
        "/etc/bird/bird.conf": "anycast-healthchecker/bird.conf",
        "/etc/anycast-healthchecker.conf": f"{name}/anycast-healthchecker.conf",
        **_CHECKING,
    }


_CHECKING: Final = {
    "/etc/lab/check": "common/check",
    "/etc/lab/probe-tables": "common/probe-tables",
}
_ANNOUNCING: Final = {"/etc/frr/frr.conf": "announcing/frr.conf", **_CHECKING}
_SETUP: Final = "lab/setup.sh peers"
_BIRD: Final = {
    "bird": _SETUP,
    "ping": _SETUP,
    str(HEALTHCHECKER): "make .peers/anycast-healthchecker/ready",
}
_BFD: Final = {"/etc/frr/daemons": "frr-bfd/daemons"}
_FILE: Final = "/etc/bgphealth/bgphealth.yaml"
_ADD_BFD: Final = "vtysh -f /etc/lab/bfd.conf"

_ALL_CONTENDERS: Final = (
    Contender("bgphealth", "bgphealth", base=dual_tor.NAME, period_s=0.2, round_s=14),
    Contender(
        "bgphealth-tuned",
        "bgphealth, 200 ms × 3, no suspicion",
        {_FILE: "bgphealth-tuned/bgphealth.yaml"},
        base=dual_tor.NAME,
        period_s=0.2,
        round_s=14,
    ),
    Contender(
        "bgphealth-fast",
        "bgphealth, 50 ms × 3, 25 ms on suspicion",
        {_FILE: "bgphealth-fast/bgphealth.yaml"},
        base=dual_tor.NAME,
        period_s=0.05,
        round_s=14,
    ),
    Contender(
        "bare-helper",
        "the floor: told at once",
        {
            "/etc/lab/start-server": "bare-helper/start-server",
            "/etc/lab/helper.py": "bare-helper/helper.py",
            "/etc/lab/both": "bare-helper/both",
            "/etc/lab/alone": "bare-helper/alone",
        },
        base=dual_tor.NAME,
        round_s=12,
        told="kill -USR1 $(cat /run/helper.pid)",
    ),
    Contender(
        "exabgp-healthcheck",
        "exabgp healthcheck",
        _exabgp("exabgp-healthcheck"),
        period_s=5.0,
        programs={"ping": _SETUP},
        round_s=27,
    ),
    Contender(
        "exabgp-healthcheck-tuned",
        "exabgp healthcheck, 200 ms × 3",
        _exabgp("exabgp-healthcheck-tuned"),
        period_s=0.2,
        programs={"ping": _SETUP},
        round_s=14,
    ),
    Contender(
        "anycast-healthchecker",
        "anycast-healthchecker + BIRD",
        _bird("anycast-healthchecker"),
        period_s=10.0,
        programs=_BIRD,
        round_s=45,
    ),
    Contender(
        "anycast-healthchecker-tuned",
        "anycast-healthchecker + BIRD, 200 ms × 3",
        _bird("anycast-healthchecker-tuned"),
        period_s=0.2,
        programs=_BIRD,
        round_s=15,
    ),
    Contender(
        "keepalived",
        "keepalived, 1 s × 3",
        {
            "/etc/lab/start-server": "keepalived/start-server",
            "/etc/keepalived/keepalived.conf": "keepalived/keepalived.conf",
            **_ANNOUNCING,
        },
        moves=frozenset({"default"}),
        used=_TOR2,
        source_moves=True,
        period_s=1.0,
        settles_s=4.0,
        programs={"keepalived": _SETUP, "ping": _SETUP},
        round_s=25,
    ),
    Contender(
        "shell-loop",
        "a shell loop, 1 s × 3",
        {
            "/etc/lab/start-server": "shell-loop/start-server",
            "/etc/lab/failover": "shell-loop/failover",
            **_ANNOUNCING,
        },
        moves=frozenset({"default"}),
        used=_TOR2,
        source_moves=True,
        period_s=1.0,
        programs={"ping": _SETUP},
        round_s=21,
    ),
    Contender("frr", "FRR alone", moves=frozenset(), round_s=20),
    Contender(
        "frr-bfd",
        "FRR alone, BFD 50 ms × 3",
        {**_BFD, "/etc/lab/bfd.conf": "frr-bfd/server.conf"},
        moves=frozenset(),
        then=dict.fromkeys((dual_tor.SERVER, *_BOTH), _ADD_BFD),
        tor_files={**_BFD, "/etc/lab/bfd.conf": "frr-bfd/tor.conf"},
        has_bfd=True,
        round_s=21,
    ),
)

CONTENDERS: Final = {contender.name: contender for contender in _ALL_CONTENDERS}


def topology_of(contender: Contender) -> Topology:
    """Return the topology in which the contender runs on the server."""
    shipped = topology.load(topology.find(contender.base))
    files = {dual_tor.SERVER: contender.files, **dict.fromkeys(_BOTH, contender.tor_files)}
    shipped.nodes = {
        name: _told(node, files[name], contender.then.get(name)) if name in files else node
        for name, node in shipped.nodes.items()
    }
    return shipped


def _told(node: Node, files: Mapping[str, str], then: str | None) -> Node:
    """Return a node with other files in the place of its own, or beside them."""
    kept = [bind for bind in node.binds if bind.split(":")[1] not in files]
    mine = [f"{HERE / source}:{target}:ro" for target, source in files.items()]
    return node.model_copy(
        update={
            "binds": (*kept, *mine),
            "exec": (*node.exec, *([then] if then else [])),
            "env": {**node.env, "ANYCAST_HEALTHCHECKER": str(HEALTHCHECKER)},
        }
    )
