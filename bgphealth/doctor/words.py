"""The commands of others, in words."""

from __future__ import annotations

from collections.abc import Mapping

from bgphealth.core.settings import Family


def ip(family: Family) -> str:
    """Return the ip command for one family."""
    return "ip -4" if family is Family.IPV4 else "ip -6"


def sysctl(values: Mapping[str, int | str]) -> str:
    """Return the command that sets sysctls, by their path below ``net``, and what keeps them."""
    settings = []
    for path, value in values.items():
        # An interface may have a dot in its name: with slashes there is no doubt.
        name = f"net/{path}" if "." in path else f"net.{path.replace('/', '.')}"
        settings.append(f"{name}={value}" if isinstance(value, int) else f"{name}='{value}'")
    return f"sysctl -w {' '.join(settings)}  # and into /etc/sysctl.d/60-bgphealth.conf"
