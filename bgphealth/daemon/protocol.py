"""What both ends of the control socket must know; it costs a client nothing to import."""

from __future__ import annotations

from enum import StrEnum

VERSION = 1
"""Of the protocol: a new command or field does not change it, a changed or removed one does."""


class Kind(StrEnum):
    """Why a request was not done."""

    BAD_REQUEST = "bad_request"
    UNKNOWN_NAME = "unknown_name"
    REFUSED = "refused"
    FORBIDDEN = "forbidden"
    INVALID_FILE = "invalid_file"
    BUSY = "busy"
    FAILED = "failed"
