"""A lab that is up: its nodes by name, the faults that are not healed, how everything is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bgphealth.testing.errors import ClabError
from bgphealth.testing.faults import Faults
from bgphealth.testing.node import Node
from bgphealth.testing.programs import Programs


class Lab(Mapping[str, Node]):
    """The nodes of a lab, by their names in the topology.

    `name` is containerlab's for the lab. `containers` are the nodes with those that docker knows.
    """

    def __init__(self, name: str, containers: Mapping[str, str], programs: Programs) -> None:
        self.name = name
        self._faults = Faults(self._remember)
        self._seen: list[tuple[str, str]] = []
        self._nodes = {
            node: Node(node, container, programs, self._faults)
            for node, container in sorted(containers.items())
        }

    def __getitem__(self, name: str) -> Node:
        try:
            return self._nodes[name]
        except KeyError:
            there = ", ".join(self._nodes)
            raise ClabError(f"lab {self.name} has no node {name!r}; there are {there}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._nodes

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        return f"Lab({self.name}: {', '.join(self._nodes)})"

    @property
    def servers(self) -> tuple[Node, ...]:
        """Return the nodes that have bgphealth."""
        return tuple(node for node in self._nodes.values() if node.has_bgphealth)

    def heal(self) -> None:
        """Heal all faults that are still there: the test was interrupted, or its healing failed.

        Raises:
            ClabError: what could not be healed; the others are.
        """
        self._faults.heal()

    def seen(self) -> list[tuple[str, str]]:
        """Return how everything is now: sections of a report, with title and text."""
        lasting = "\n".join(map(str, self._faults.lasting))
        sections = [(f"{self.name}: faults that last", lasting)] if lasting else []
        sections += [
            (f"{self.name}: {node.name}: {title}", text)
            for node in self._nodes.values()
            for title, text in node.seen()
        ]
        # What is asked first, how the servers are, is not to be looked for below the routers.
        return sorted(sections, key=lambda section: "show bgp" in section[0])

    def take_seen(self) -> list[tuple[str, str]]:
        """Return how everything was when a test failed within a fault, and forget it."""
        seen, self._seen = self._seen, []
        return seen

    def _remember(self) -> None:
        # The innermost fault is left first: that is how it was when it failed.
        self._seen = self._seen or self.seen()
