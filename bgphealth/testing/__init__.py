"""Test a topology of containerlab with bgphealth in it: what the fixture `clab` is made of.

It talks to the command lines in the nodes and knows nothing of the program's inside: whoever tests
sees what an operator sees. docs/testing.md has the reference.
"""

from __future__ import annotations

from bgphealth.testing.answers import Doctor, Event, Status
from bgphealth.testing.errors import ClabError, NodeError, NotSeenError
from bgphealth.testing.faults import Fault
from bgphealth.testing.lab import Lab
from bgphealth.testing.node import Node

__all__ = [
    "ClabError",
    "Doctor",
    "Event",
    "Fault",
    "Lab",
    "Node",
    "NodeError",
    "NotSeenError",
    "Status",
]
