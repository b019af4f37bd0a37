"""Which of the kernel's rules led to an answer. The kernel does not say; it is told by walking.

Rules are asked in the order of their priority (ip-rule(8)). What a rule asks for that a question
does not say (ports, users, TOS) makes it one that may have matched: then it is said so.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from bgphealth.core.settings import Address, Prefix

if TYPE_CHECKING:
    from bgphealth.core.lookup import Matched, Question

MAIN = 254
_TABLES = {255: "local", MAIN: "main", 253: "default"}


class Action(StrEnum):
    """What a rule does (FR_ACT)."""

    LOOKUP = "lookup"
    GOTO = "goto"
    NOP = "nop"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"


_REFUSALS = {
    Action.BLACKHOLE: errno.EINVAL,
    Action.UNREACHABLE: errno.ENETUNREACH,
    Action.PROHIBIT: errno.EACCES,
}
_ROUTE_REFUSALS = {
    "blackhole": errno.EINVAL,
    "unreachable": errno.EHOSTUNREACH,
    "prohibit": errno.EACCES,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of one family.

    `target` is where ``goto`` goes. `suppress` refuses routes with a prefix of that length or
    shorter. `others` are the selectors that a question says nothing of, in words.
    """

    priority: int
    action: Action
    table: int = 0
    target: int | None = None
    source: Prefix | None = None
    destination: Prefix | None = None
    interface: str | None = None
    incoming: str | None = None
    mark: int = 0
    mask: int = 0
    is_inverted: bool = False
    suppress: int | None = None
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the rule as ip(8) prints it."""
        words = [f"{self.priority}:", *(["not"] if self.is_inverted else [])]
        words.append(f"from {_prefix(self.source)}")
        if self.destination is not None:
            words.append(f"to {_prefix(self.destination)}")
        if self.mark or self.mask:
            mask = "" if self.mask == _WHOLE else f"/{self.mask:#x}"
            words.append(f"fwmark {self.mark:#x}{mask}")
        if self.incoming is not None:
            words.append(f"iif {self.incoming}")
        if self.interface is not None:
            words.append(f"oif {self.interface}")
        words += self.others
        match self.action:
            case Action.LOOKUP:
                words.append(f"lookup {table_name(self.table)}")
            case Action.GOTO:
                words.append(f"goto {self.target}")
            case action:
                words.append(str(action))
        if self.suppress is not None:
            words.append(f"suppress_prefixlength {self.suppress}")
        return " ".join(words)


_WHOLE = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Hit:
    """The rule that led to an answer; several where it cannot be told which of them.

    `route` is the one that refused, where one did.
    """

    rules: tuple[Rule, ...] = ()
    route: Matched | None = None


def table_name(table: int) -> str:
    """Return what ip(8) calls a table."""
    return _TABLES.get(table, str(table))


def _prefix(prefix: Prefix | None) -> str:
    if prefix is None:
        return "all"
    is_host = prefix.prefixlen == prefix.max_prefixlen
    return str(prefix.network_address if is_host else prefix)


def leads_to(
    rules: Sequence[Rule], question: Question, source: Address | None, route: Matched
) -> Hit:
    """Return the rule through which a question with that source found a route."""
    maybe: list[Rule] = []
    for rule in _walk(rules, question, source):
        if rule.action is not Action.LOOKUP or rule.table != route.table:
            continue
        if rule.suppress is not None and route.prefix.prefixlen <= rule.suppress:
            continue
        maybe.append(rule)
        if not rule.others:
            return Hit(tuple(maybe))
    return Hit(tuple(maybe))


def refuses(
    rules: Sequence[Rule],
    question: Question,
    source: Address | None,
    routes: Sequence[Matched],
    code: int,
) -> Hit:
    """Return the rule, and the route of `routes`, that refused a question with an errno.

    `routes` are those of all tables that refuse and that throw.
    """
    for rule in _walk(rules, question, source):
        if rule.others:
            continue
        if _REFUSALS.get(rule.action) == code:
            return Hit((rule,))
        if rule.action is not Action.LOOKUP:
            continue
        route = _longest(routes, rule.table, question.destination)
        if route is not None and _ROUTE_REFUSALS.get(str(route.kind)) == code:
            return Hit((rule,), route)
    return Hit()


def might_match(
    rules: Sequence[Rule], question: Question, source: Address | None, before: Rule | None
) -> tuple[Rule, ...]:
    """Return the rules above one that take a part of such traffic: some port, some user."""
    found = []
    for rule in _walk(rules, question, source):
        if rule is before:
            break
        if rule.others:
            found.append(rule)
    return tuple(found)


def _walk(rules: Sequence[Rule], question: Question, source: Address | None) -> Iterator[Rule]:
    """Yield the rules that match, or may, in the order in which they are asked."""
    at = 0
    for rule in rules:
        if rule.priority < at or not _matches(rule, question, source):
            continue
        if rule.action is Action.GOTO and rule.target is not None and not rule.others:
            at = rule.target
        yield rule


def _matches(rule: Rule, question: Question, source: Address | None) -> bool:
    selected = (
        (rule.source is None or (source is not None and source in rule.source))
        and (rule.destination is None or question.destination in rule.destination)
        and rule.interface in (None, question.interface)
        # What the host itself sends comes in by lo.
        and rule.incoming in (None, "lo")
        and (rule.mark ^ question.mark) & rule.mask == 0
    )
    if rule.is_inverted:
        return not selected or bool(rule.others)
    return selected


def _longest(routes: Sequence[Matched], table: int, destination: Address) -> Matched | None:
    inside = (r for r in routes if r.table == table and destination in r.prefix)
    return max(inside, key=lambda r: (r.prefix.prefixlen, -r.metric), default=None)
