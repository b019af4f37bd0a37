"""Every way in which a host is broken for the doctor: at least one for each of its words."""

from __future__ import annotations

from tests.support.doctor import Broken

# zebra looks at BGP's default again when somebody else's has come and gone.
_ZEBRA_AGAIN = (
    "ip route add default via 10.0.1.0 dev eth1 metric 50 && sleep 0.1 && "
    "ip route del default via 10.0.1.0 dev eth1 metric 50"
)
_DEFAULT = """
    while ip -4 route show default | grep -q 'proto bgp'; do
        ip addr del 10.255.10.1/32 dev lo; ip addr add 10.255.10.1/32 dev lo; sleep 0.2
    done
"""
_DEFAULT = "ip -4 route replace default proto bgp {src} metric 20 nexthop via 10.0.1.0 dev eth1"
_LISTEN = (
    "import socket,sys,time;s=socket.socket(socket.AF_UNIX);s.bind(sys.argv[1]);s.listen();"
    "time.sleep(60)"
)


def _broken(*words: str, also: tuple[str, ...] = (), **how: object) -> Broken:
    return Broken(frozenset(words), also=frozenset(also), **how)  # type: ignore[arg-type]


def _sysctl(word: str, name: str, value: int, right: int) -> Broken:
    return _broken(word, how=f"sysctl -qw {name}={value}", undo=f"sysctl -qw {name}={right}")


def _socket(path: str) -> str:
    return f"$a control: {{socket: {path}}}"


def _listener(
    word: str, capability: str, before: str = ":", after: str = ":", *, is_mended: bool = True
) -> Broken:
    """Return a program that listens, and lacks a capability."""
    path = f"/run/{word}.sock"
    return _broken(
        word,
        is_mended=is_mended,
        file=_socket(path),
        how=f"""
            {before}
            setpriv --bounding-set -{capability} --inh-caps -{capability} \\
                python3 -c '{_LISTEN}' {path} >/dev/null 2>&1 </dev/null & echo $! >/run/{word}.pid
            until [ -S {path} ]; do sleep 0.02; done
        """,
        undo=f"kill $(cat /run/{word}.pid); rm {path}; {after}",
    )


BROKEN = (
    # ---- links
    _broken(
        "uplink_absent",
        file="s/interface: eth1/interface: eth9/",
        also=("fallback_left",),
        is_mended=False,
    ),
    _broken("uplink_down", how="ip link set eth1 down", undo="ip link set eth1 up", disturbs=True),
    _broken("mtu_differs", how="ip link set eth1 mtu 1400", undo="ip link set eth1 mtu 1500"),
    _broken(
        "gateway_unresolved",
        how="""
            nft add table arp broken
            nft add chain arp broken in '{ type filter hook input priority 0; }'
            nft add rule arp broken in iif eth1 drop
            ip -4 neigh flush dev eth1
        """,
        undo="nft delete table arp broken",
        is_mended=False,
        disturbs=True,
    ),
    # ---- addresses
    _broken(
        "loopback_missing",
        how="ip addr del 2001:db8:10::1/128 dev lo",
        undo="ip addr replace 2001:db8:10::1/128 dev lo",
    ),
    _broken(
        "service_address_missing",
        how="ip addr del 192.0.2.53/32 dev lo",
        undo="ip addr replace 192.0.2.53/32 dev lo",
    ),
    _broken(
        "address_on_link",
        how="ip addr del 192.0.2.53/32 dev lo; ip addr add 192.0.2.53/32 dev eth1",
        undo="ip addr replace 192.0.2.53/32 dev lo; ip addr del 192.0.2.53/32 dev eth1",
    ),
    _broken(
        "no_probe_source",
        file="s/neighbor_asn: 65001/&, probe_source: {ipv4: 10.255.11.1}/",
        undo="ip addr del 10.255.11.1/32 dev lo",
        also=("table_default_missing", "table_others"),
    ),
    _broken(
        "no_gateway",
        how="ip -6 neigh flush dev eth1",
        file=(
            's/neighbor: {ipv4: 10.0.1.0, ipv6: "2001:db8:1::"}/neighbor: unnumbered, '
            'next_hop: {ipv4: 10.255.0.1, ipv6: "2001:db8:ff::1"}, '
            'probe_source: {ipv4: 10.255.11.1, ipv6: "2001:db8:11:1::1"}/'
        ),
        also=("no_probe_source",),
        is_mended=False,
    ),
    _broken(
        "several_addresses",
        how="ip addr add 2001:db8:1::5/64 dev eth1",
        undo="ip addr del 2001:db8:1::5/64 dev eth1",
        is_mended=False,
    ),
    # ---- defaults
    # The kernel drops the IPv4 default with its source, and refuses it until that is back.
    _broken(
        "only_fallback",
        "loopback_missing",
        how="ip addr del 10.255.10.1/32 dev lo",
        undo=f"ip addr replace 10.255.10.1/32 dev lo; {_ZEBRA_AGAIN}",
        disturbs=True,
    ),
    _broken(
        "no_default",
        "loopback_missing",
        is_stopped=True,
        how="""
            ip addr del 10.255.10.1/32 dev lo
            while ip -4 route del default proto 179; do :; done
        """,
        undo=f"ip addr replace 10.255.10.1/32 dev lo; {_ZEBRA_AGAIN}",
        also=("fallback_missing",),
        is_mended=False,
    ),
    _broken(
        "foreign_default",
        how="ip route add default via 10.0.1.0 dev eth1 metric 100 proto dhcp",
        undo="ip route del default via 10.0.1.0 dev eth1 metric 100",
    ),
    _broken(
        "foreign_default",
        how="vtysh -c 'configure terminal' -c 'ipv6 route ::/0 2001:db8:1::'",
        undo="vtysh -c 'configure terminal' -c 'no ipv6 route ::/0 2001:db8:1::'",
    ),
    *(
        _broken(word, how=_DEFAULT.format(src=src), undo=_ZEBRA_AGAIN, is_mended=False)
        for word, src in (
            ("default_source_anycast", "src 192.0.2.53"),
            ("default_source_link", ""),
        )
    ),
    _broken(
        "default_source_link",
        how=_DEFAULT.format(src="src 10.0.1.1"),
        undo=_ZEBRA_AGAIN,
        disturbs=True,
    ),
    _broken(
        "default_source_other",
        how=_DEFAULT.format(src="src 127.0.0.1"),
        undo=_ZEBRA_AGAIN,
        is_mended=False,
    ),
    _broken("fallback_missing", is_stopped=True, how="ip route del default proto 179"),
    _broken(
        "fallback_left",
        is_stopped=True,
        how="ip route add default via 10.0.1.0 dev eth1 metric 4261412869 proto 179",
    ),
    # ---- tables and rules
    _broken("table_default_missing", is_stopped=True, how="ip -6 route del default table 17901"),
    _broken("table_route_missing", is_stopped=True, how="ip route del 10.0.1.0/31 table 17901"),
    _broken("rule_missing", is_stopped=True, how="ip -6 rule del priority 1791"),
    _broken(
        "table_others",
        is_stopped=True,
        how="""
            ip route add 198.51.100.1/32 via 10.0.2.0 dev eth2 table 17901
            ip route add blackhole 198.51.100.2/32 table 17901 metric 7
            ip route add 198.51.100.3/32 via 10.0.2.0 dev eth2 table 17901 proto 179
        """,
    ),
    _broken(
        "rule_captures",
        how="ip rule add priority 100 lookup main",
        undo="ip rule del priority 100",
    ),
    # ---- sysctls
    _sysctl("rp_filter", "net.ipv4.conf.eth1.rp_filter", 1, 0),
    _sysctl("arp_ignore", "net.ipv4.conf.all.arp_ignore", 0, 1),
    _sysctl("arp_announce", "net.ipv4.conf.all.arp_announce", 0, 2),
    _sysctl("forwarding", "net.ipv4.ip_forward", 1, 0),
    _sysctl("forwarding", "net.ipv6.conf.all.forwarding", 1, 0),
    _sysctl("multipath_hash", "net.ipv4.fib_multipath_hash_policy", 0, 1),
    _sysctl("accept_ra", "net.ipv6.conf.eth1.accept_ra", 1, 0),
    _sysctl("ignore_routes_with_linkdown", "net.ipv6.conf.eth1.ignore_routes_with_linkdown", 0, 1),
    _sysctl("keep_addr_on_down", "net.ipv6.conf.all.keep_addr_on_down", 0, 1),
    # ---- the process
    _broken("not_running", file=_socket("/run/nobody.sock"), is_mended=False),
    _listener("no_net_admin", "net_admin", is_mended=False),
    _listener(
        "no_icmp",
        "net_raw",
        before="sysctl -qw net.ipv4.ping_group_range='1 0'",
        after="sysctl -qw net.ipv4.ping_group_range='0 2147483647'",
    ),
    _broken("cannot_look", file=_socket("/etc/passwd/no.sock"), is_mended=False),
)

BROKEN_LOCAL = (
    _broken(
        "foreign_default_first",
        is_stopped=True,
        how="ip route add default via 10.0.2.0 dev eth2",
        undo="ip route del default via 10.0.2.0 dev eth2 metric 0 scope global",
    ),
    _broken(
        "fallback_missing",
        is_stopped=True,
        how="ip route del default proto 179 metric 1",
        also=("foreign_default_first",),
    ),
    _broken("table_default_missing", is_stopped=True, how="ip route del default table 17901"),
    _broken("rule_missing", is_stopped=True, how="ip rule del priority 1792"),
)
"""The same in mode local, with the uplinks eth1 and eth2."""
