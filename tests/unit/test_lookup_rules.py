"""Which rule led to an answer, without a kernel."""

from __future__ import annotations

import errno
from ipaddress import ip_address, ip_network

import pytest

from bgphealth.core.lookup import Kind, Matched, Question
from bgphealth.core.lookup_rules import Action, Hit, Rule, leads_to, might_match, refuses

MAIN = Rule(32766, Action.LOOKUP, 254)
LOCAL = Rule(0, Action.LOOKUP, 255)
DESTINATION = ip_address("203.0.113.9")
SOURCE = ip_address("10.0.1.1")
ASKED = Question(DESTINATION, None, "eth1", 0x107)


def lookup(priority: int = 50, table: int = 100, **selectors: object) -> Rule:
    return Rule(priority, Action.LOOKUP, table, **selectors)  # type: ignore[arg-type]


def route(table: int = 100, prefix: str = "0.0.0.0/0", kind: Kind = Kind.UNICAST) -> Matched:
    return Matched(table, ip_network(prefix), kind, "static")


def hit(*rules: Rule, of: Matched | None = None, source: bool = True) -> Hit:
    every = (LOCAL, *rules, MAIN)
    return leads_to(every, ASKED, SOURCE if source else None, of or route())


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (lookup(), "50: from all lookup 100"),
        (lookup(source=ip_network("10.0.1.0/24")), "50: from 10.0.1.0/24 lookup 100"),
        (lookup(source=ip_network("10.0.1.1/32")), "50: from 10.0.1.1 lookup 100"),
        (lookup(destination=ip_network("203.0.113.0/24")), "50: from all to 203.0.113.0/24 lookup"),
        (lookup(interface="eth1"), "50: from all oif eth1 lookup 100"),
        (lookup(incoming="lo"), "50: from all iif lo lookup 100"),
        (lookup(mark=7, mask=0xFF), "50: from all fwmark 0x7/0xff lookup 100"),
        (lookup(mark=0x107, mask=0xFFFF_FFFF), "50: from all fwmark 0x107 lookup 100"),
        (lookup(interface="eth2", is_inverted=True), "50: not from all oif eth2 lookup 100"),
        (lookup(table=255), "50: from all lookup local"),
    ],
)
def test_selectors_that_match(rule: Rule, words: str) -> None:
    table = rule.table
    found = leads_to((rule, MAIN), ASKED, SOURCE, route(table))
    assert found.rules == (rule,)
    assert str(rule).startswith(words)


@pytest.mark.parametrize(
    "rule",
    [
        lookup(source=ip_network("10.0.2.0/24")),
        lookup(destination=ip_network("198.51.100.0/24")),
        lookup(interface="eth2"),
        lookup(incoming="eth1"),
        lookup(mark=8, mask=0xFF),
        lookup(mark=7, mask=0xFFFF_FFFF),
        lookup(interface="eth1", is_inverted=True),
        lookup(suppress=0),
        lookup(table=101),
    ],
    ids=str,
)
def test_selectors_that_do_not(rule: Rule) -> None:
    behind = lookup(60)
    assert hit(rule, behind).rules == (behind,)


def test_a_source_that_is_not_known_yet_is_in_no_prefix() -> None:
    rule = lookup(source=ip_network("10.0.1.0/24"))
    assert hit(rule).rules == (rule,)
    assert hit(rule, source=False).rules == ()


def test_what_is_longer_is_not_suppressed() -> None:
    rule = lookup(suppress=0)
    assert str(rule).endswith(" suppress_prefixlength 0")
    assert hit(rule, of=route(prefix="203.0.113.0/24")).rules == (rule,)


def test_goto_jumps_over_rules() -> None:
    jump = Rule(10, Action.GOTO, target=40)
    over, behind = lookup(20), lookup(40)
    assert str(jump) == "10: from all goto 40"
    assert hit(jump, over, behind).rules == (behind,)


def test_what_a_question_does_not_say_is_left_open() -> None:
    maybe, sure = lookup(others=("ipproto",)), lookup(60)
    assert str(maybe) == "50: from all ipproto lookup 100"
    assert hit(maybe, sure).rules == (maybe, sure)
    elsewhere = lookup(table=101, others=("dport",))
    rules = (LOCAL, elsewhere, sure, MAIN)
    assert leads_to(rules, ASKED, SOURCE, route()).rules == (sure,)
    assert might_match(rules, ASKED, SOURCE, sure) == (elsewhere,)
    # Where nothing was hit, all of them may be.
    assert might_match(rules, ASKED, SOURCE, None) == (elsewhere,)


@pytest.mark.parametrize("said", ["ipproto", None])
def test_an_inverted_rule_with_more_to_it_may_match(said: str | None) -> None:
    others = () if said is None else (said,)
    rule = lookup(interface="eth1", is_inverted=True, others=others)
    assert hit(rule).rules == ((rule,) if said else ())


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (Action.PROHIBIT, errno.EACCES),
        (Action.BLACKHOLE, errno.EINVAL),
        (Action.UNREACHABLE, errno.ENETUNREACH),
    ],
)
def test_a_rule_that_refuses(action: Action, code: int) -> None:
    rule = Rule(50, action)
    rules = (LOCAL, rule, MAIN)
    assert refuses(rules, ASKED, SOURCE, (), code) == Hit((rule,))
    assert str(rule) == f"50: from all {action}"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Kind.PROHIBIT, errno.EACCES),
        (Kind.BLACKHOLE, errno.EINVAL),
        (Kind.UNREACHABLE, errno.EHOSTUNREACH),
    ],
)
def test_a_route_that_refuses(kind: Kind, code: int) -> None:
    longer = route(prefix="203.0.113.0/24", kind=kind)
    routes = (
        route(kind=Kind.PROHIBIT),
        longer,
        route(prefix="198.51.100.0/24", kind=kind),
        route(101, "203.0.113.0/25", kind),
    )
    rule = lookup()
    assert refuses((LOCAL, rule, MAIN), ASKED, SOURCE, routes, code) == Hit((rule,), longer)


def test_throw_goes_on_with_the_next_rule() -> None:
    routes = (
        route(kind=Kind.PROHIBIT),
        route(prefix="203.0.113.0/24", kind=Kind.THROW),
        route(254, kind=Kind.PROHIBIT),
    )
    found = refuses((lookup(), MAIN), ASKED, SOURCE, routes, errno.EACCES)
    assert found == Hit((MAIN,), routes[2])


def test_nothing_refuses_where_there_is_no_route() -> None:
    assert refuses((LOCAL, lookup(), MAIN), ASKED, SOURCE, (), errno.ENETUNREACH) == Hit()
