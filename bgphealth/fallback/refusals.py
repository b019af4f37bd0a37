"""What the kernel refuses, as errors of ours: the one place for all that speaks netlink."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from pyroute2.netlink.exceptions import NetlinkError

from bgphealth.core.errors import BgphealthError, HostError, PermissionDeniedError


@contextmanager
def mapped(
    what: str,
    *,
    otherwise: str = "set fallback.enabled: false",
    gone: int | None = None,
    unit: str = "the unit that runs ExaBGP",
) -> Iterator[None]:
    """Turn the kernel's refusal into our errors; `gone` is the errno of "it is so already".

    `unit` is who needs the permission, `otherwise` what to do where it cannot be had.
    """
    try:
        yield
    except NetlinkError as error:
        if error.code != gone:
            raise _map(what, error, otherwise, unit) from error
    except OSError as error:
        raise HostError(f"{what}: {error.strerror}") from error


def _map(what: str, error: NetlinkError, otherwise: str, unit: str) -> BgphealthError:
    if error.code in (errno.EPERM, errno.EACCES):
        return PermissionDeniedError(
            f"{what}: CAP_NET_ADMIN is missing; give it to {unit} "
            f"(AmbientCapabilities=CAP_NET_ADMIN), or {otherwise}"
        )
    return HostError(f"{what}: {error.args[-1]}")
