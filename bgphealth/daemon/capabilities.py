"""The capabilities that the service manager gives us are ours alone."""

from __future__ import annotations

import ctypes

_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4


def keep() -> None:
    """Keep our capabilities from the programs that we start; to be called before any thread is.

    Ambient capabilities are what a program keeps that an ordinary user starts (capabilities(7)).
    Without them we have ours still, and a check has none: it cannot write routes, and, as it has
    less than we have, not open our descriptors in /proc either. Root gives everything to everybody.
    """
    # Kernels before 4.3 have none to clear.
    ctypes.CDLL(None).prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
