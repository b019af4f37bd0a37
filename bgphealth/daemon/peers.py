"""Who is at the other end of the control socket, and what that one may do.

Root, the program's own user and the members of the socket's group may do everything. Whether
anybody else may read is said in the file (`control.read`).
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import struct
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from bgphealth.core.errors import HostError
from bgphealth.core.settings import Readers, Settings

_CREDENTIALS = struct.Struct("3i")
_SO_PEERGROUPS = 59  # socket(7) has it since Linux 4.13, the module of Python not.
_LONGEST_OPTION = 1024  # What Python reads of a socket option: 256 groups.
_NOBODY_ELSE = 0o600
_MODES = {Readers.GROUP: 0o660, Readers.ALL: 0o666}


class Standing(StrEnum):
    """What somebody is to the program. Each has its own places at the socket."""

    OWNER = "owner"
    """Root, or the user that the program runs as."""
    MEMBER = "member"
    STRANGER = "stranger"


class Peer(NamedTuple):
    """Who is at the other end, as the kernel says (SO_PEERCRED, unix(7))."""

    pid: int
    uid: int
    gid: int


class Caller(NamedTuple):
    """A peer, and the groups that it had when it connected."""

    peer: Peer
    groups: frozenset[int]

    def standing(self, group: int | None) -> Standing:
        """Return what it is to us, with the socket in this group."""
        if self.peer.uid in {0, os.geteuid()}:
            return Standing.OWNER
        is_member = group is not None and group in {self.peer.gid, *self.groups}
        return Standing.MEMBER if is_member else Standing.STRANGER


class Rights(NamedTuple):
    """Who may come in: `control` in the file."""

    group: str | None = None
    readers: Readers = Readers.GROUP

    @classmethod
    def of(cls, settings: Settings) -> Rights:
        """Return what the file says."""
        return cls(settings.control_group, settings.control_read)


def caller(connection: socket.socket) -> Caller:
    """Return who has connected. Of one with more than 256 groups, they are looked up by name."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    peer = Peer(*_CREDENTIALS.unpack(raw))
    try:
        packed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _LONGEST_OPTION)
    except OSError as error:
        if error.errno != errno.ERANGE:
            return Caller(peer, frozenset())
        return Caller(peer, frozenset(os.getgrouplist(user_name(peer.uid), peer.gid)))
    return Caller(peer, frozenset(gid for (gid,) in struct.iter_unpack("I", packed)))


@lru_cache(maxsize=64)
def user_name(uid: int) -> str:
    """Return the name of a user, or the number of one that has none. May ask a directory."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_number(name: str) -> int:
    """Return the number of a group. May ask a directory.

    Raises:
        HostError: there is no such group.
    """
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise HostError(
            f"there is no group {name} on this host: 'groupadd --system {name}' makes it"
        ) from None


def let_in(path: Path, rights: Rights) -> int:
    """Let those connect to a socket who may, and return its group.

    Raises:
        HostError: there is no such group. Nobody but root and our user may connect then.
        OSError: the group may not be given to it; the same.
    """
    path.chmod(_NOBODY_ELSE)
    group = os.getegid() if rights.group is None else group_number(rights.group)
    os.chown(path, -1, group)
    path.chmod(_MODES[rights.readers])
    return group
