"""The commands of others, in words."""

from __future__ import annotations

from bgphealth.core.settings import Family


def ip(family: Family) -> str:
    """Return the ip command for one family."""
    return "ip -4" if family is Family.IPV4 else "ip -6"


def sysctl(path: str, value: int | str) -> str:
    """Return the command that sets a sysctl below ``net``, and what keeps it over a reboot."""
    # An interface may have a dot in its name: with slashes there is no doubt.
    shown = path if "." in path else path.replace("/", ".")
    given = value if isinstance(value, int) else f"'{value}'"
    separator = "/" if "." in path else "."
    name = f"net{separator}{shown}"
    return f"sysctl -w {name}={given}  # and into /etc/sysctl.d/60-bgphealth.conf"
