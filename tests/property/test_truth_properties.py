"""Whatever is announced: what is as announced is no drift, and every single change is found."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from hypothesis import assume, given
from hypothesis import strategies as st

from bgphealth.core.decisions import default_key
from bgphealth.core.intents import Announcement, Community, LargeCommunity, RouteKey
from bgphealth.core.policy import owned
from bgphealth.core.settings import Family, Prefix
from bgphealth.core.truth import (
    BgpPath,
    BgpRoute,
    Expected,
    KernelDefault,
    KernelView,
    Leg,
    State,
    Where,
    in_bgpd,
    in_kernel,
)
from tests.support.hosts import host, unnumbered_host

BOTH = (Family.IPV4, Family.IPV6)
SETTINGS = host(uplinks=3, families=BOTH)
OWNED = sorted(owned(SETTINGS), key=str)
NEXT_HOPS = {
    4: [ip_address("10.0.1.0"), ip_address("10.0.2.0"), ip_address("192.0.0.8")],
    6: [ip_address("2001:db8:1::"), ip_address("2001:db8:2::"), ip_address("100::1")],
}
ELSEWHERE = {4: ip_address("203.0.113.1"), 6: ip_address("2001:db8:bad::1")}
COMMUNITIES = [Community(65101, 1), Community(65101, 2), Community(65535, 0)]


@st.composite
def announcements(draw: st.DrawFn) -> Expected:
    """Draw what was acknowledged for some of our routes: announced so, or withdrawn."""
    expected: dict[RouteKey, Announcement | None] = {}
    for key in draw(st.lists(st.sampled_from(OWNED), min_size=1, unique=True)):
        expected[key] = draw(
            st.none()
            | st.builds(
                Announcement,
                st.just(key),
                st.sampled_from(NEXT_HOPS[key.prefix.version]),
                st.sampled_from([100, 90, 0]),
                st.lists(st.sampled_from(COMMUNITIES), unique=True).map(tuple),
                st.sampled_from([(), (LargeCommunity(65101, 1, 1),)]),
            )
        )
    return expected


def as_announced(expected: Expected) -> dict[Prefix, BgpRoute]:
    """Return a table of bgpd that has all of it: the best local preference is selected."""
    table: dict[Prefix, BgpRoute] = {key.prefix: BgpRoute() for key in expected}
    for prefix in table:
        wanted = [it for key, it in expected.items() if key.prefix == prefix and it is not None]
        best = max((it.local_pref or 0 for it in wanted), default=0)
        paths = tuple(
            BgpPath(
                it.key.path_id,
                () if it.next_hop is None else (it.next_hop,),
                it.local_pref,
                frozenset(map(str, (*it.communities, *it.large_communities))),
                is_valid=True,
                is_selected=it.local_pref == best,
            )
            for it in wanted
        )
        table[prefix] = BgpRoute(paths)
    return table


def undecided(expected: Expected) -> frozenset[RouteKey]:
    return owned(SETTINGS) - expected.keys()


@given(announcements())
def test_what_is_as_announced_is_no_drift(expected: Expected) -> None:
    compared = in_bgpd(expected, undecided(expected), as_announced(expected))
    assert compared.drifts == ()
    assert compared.states == {key: State.SEEN for key, it in expected.items() if it is not None}


def changed(path: BgpPath, what: str, version: int) -> BgpPath:
    preference = path.local_pref or 0
    return {
        "next hop": replace(path, next_hops=(ELSEWHERE[version],)),
        "local preference": replace(path, local_pref=preference + 1),
        "no local preference": replace(path, local_pref=None),
        "more communities": replace(path, communities=path.communities | {"65000:1"}),
        "another large one": replace(path, communities=path.communities | {"65101:1:2"}),
        "other communities": replace(path, communities=frozenset({"65000:1"})),
        "invalid": replace(path, is_valid=False, is_selected=False),
        "not selected": replace(path, is_selected=False),
    }[what]


CHANGES = {
    "next hop": State.DIFFERS,
    "local preference": State.DIFFERS,
    "no local preference": State.DIFFERS,
    "more communities": State.DIFFERS,
    "another large one": State.DIFFERS,
    "other communities": State.DIFFERS,
    "invalid": State.UNUSED,
    "not selected": State.UNUSED,
    "gone": State.MISSING,
}


@given(announcements(), st.data())
def test_every_single_change_is_found(expected: Expected, data: st.DataObject) -> None:
    table = as_announced(expected)
    places = [(prefix, path) for prefix, route in table.items() for path in route.paths]
    assume(places)
    prefix, path = data.draw(st.sampled_from(places))
    what = data.draw(st.sampled_from(sorted(CHANGES)))
    assume(what != "not selected" or path.is_selected)
    others = tuple(other for other in table[prefix].paths if other != path)
    if what in ("invalid", "gone"):
        # What bgpd cannot use any more leaves the next best path to be selected.
        left = max((other.local_pref or 0 for other in others), default=0)
        others = tuple(replace(other, is_selected=other.local_pref == left) for other in others)
    now = () if what == "gone" else (changed(path, what, prefix.version),)
    table[prefix] = BgpRoute((*others, *now))
    key = RouteKey(prefix, path.path_id)
    compared = in_bgpd(expected, undecided(expected), table)
    found = [drift for drift in compared.drifts if drift.key == key]
    assert [(drift.where, drift.state) for drift in found] == [(Where.BGPD, CHANGES[what])]
    assert compared.states[key] is CHANGES[what]
    assert found[0].expected != found[0].found
    # Nothing else is, but for paths that are preferred now and were not selected in this table.
    assert all(d.state is State.UNUSED for d in compared.drifts if d.key != key)


@given(announcements(), st.sampled_from(OWNED), st.integers(8, 2**32 - 1))
def test_a_path_that_should_not_be_there_is_stale(
    expected: Expected, key: RouteKey, path_id: int
) -> None:
    table = as_announced(expected)
    there = BgpPath(key.path_id, (ELSEWHERE[key.prefix.version],), 1, frozenset(), False, False)  # noqa: FBT003
    foreign = replace(there, path_id=path_id)
    route = table.setdefault(key.prefix, BgpRoute())
    is_withdrawn = key in expected and expected[key] is None
    paths = (*route.paths, foreign, *((there,) if is_withdrawn else ()))
    table[key.prefix] = BgpRoute(paths)
    compared = in_bgpd(expected, undecided(expected), table)
    stale = {key} if is_withdrawn else set()
    assert {d.key for d in compared.drifts} == {RouteKey(key.prefix, path_id), *stale}
    assert {d.state for d in compared.drifts} == {State.STALE}


@given(announcements(), st.sampled_from(OWNED))
def test_what_is_undecided_may_be_there(expected: Expected, key: RouteKey) -> None:
    """An earlier run of the program may have left it, and it is left as it is."""
    assume(key not in expected)
    table = as_announced(expected)
    there = BgpPath(key.path_id, (ELSEWHERE[key.prefix.version],), 1, frozenset(), False, False)  # noqa: FBT003
    route = table.get(key.prefix, BgpRoute())
    table[key.prefix] = BgpRoute((*route.paths, there))
    assert in_bgpd(expected, undecided(expected), table).drifts == ()


# ---- the kernel ----------------------------------------------------------------------------------


def used_and_view(
    family: Family, numbers: frozenset[int], *, unnumbered: bool
) -> tuple[list[Announcement], KernelView]:
    """Return announced defaults, and a kernel that has just these."""
    settings = (unnumbered_host if unnumbered else host)(3, BOTH)
    paths = {
        uplink.number: (uplink.interface, path)
        for uplink in settings.uplinks
        for path in uplink.paths
        if path.family is family and uplink.number in numbers
    }
    used = [Announcement(default_key(family, n), p.next_hop, 100) for n, (_, p) in paths.items()]
    link_local = ip_address("169.254.0.1" if family is Family.IPV4 else "fe80::1")
    legs = tuple(Leg(name, link_local if unnumbered else p.next_hop) for name, p in paths.values())
    source = settings.host.source_for(family)
    return used, KernelView((KernelDefault("bgp", 20, source, legs),), has_source=True)


families = st.sampled_from(BOTH)
some_numbers = st.frozensets(st.sampled_from([1, 2, 3]), min_size=1)


@given(
    family=families,
    numbers=some_numbers,
    unnumbered=st.booleans(),
    is_worse_there=st.booleans(),
)
def test_a_kernel_that_has_just_these_is_right(
    *,
    family: Family,
    numbers: frozenset[int],
    unnumbered: bool,
    is_worse_there: bool,
) -> None:
    used, view = used_and_view(family, numbers, unnumbered=unnumbered)
    worse = KernelDefault("dhcp", 254 << 24, None, (Leg("eth0", None),))
    if is_worse_there:
        view = replace(view, defaults=(worse, *view.defaults))
    settings = (unnumbered_host if unnumbered else host)(3, BOTH)
    assert in_kernel(settings, family, used, view) is None
    unknown = replace(view.defaults[-1], legs=None)
    assert in_kernel(settings, family, used, replace(view, defaults=(unknown,))) is None


@given(family=families, numbers=some_numbers, unnumbered=st.booleans(), data=st.data())
def test_every_single_change_of_the_kernel_is_found(
    *,
    family: Family,
    numbers: frozenset[int],
    unnumbered: bool,
    data: st.DataObject,
) -> None:
    used, view = used_and_view(family, numbers, unnumbered=unnumbered)
    (default,) = view.defaults
    legs = default.legs or ()
    elsewhere = ELSEWHERE[4 if family is Family.IPV4 else 6]
    changes = {
        "none": replace(view, defaults=()),
        "no source": replace(view, defaults=(replace(default, source=None),)),
        "other source": replace(view, defaults=(replace(default, source=elsewhere),)),
        "not on the host": replace(view, has_source=False),
        "somebody else's": replace(view, defaults=(replace(default, protocol="dhcp"),)),
        "better": replace(view, defaults=(default, replace(default, protocol="ra", metric=5))),
        "a leg less": replace(view, defaults=(replace(default, legs=legs[1:]),)),
        "a leg more": replace(
            view, defaults=(replace(default, legs=(*legs, Leg("eth9", elsewhere))),)
        ),
        "another device": replace(
            view, defaults=(replace(default, legs=(Leg("eth9", legs[0].gateway), *legs[1:])),)
        ),
    }
    if not unnumbered:
        other = (Leg(legs[0].interface, elsewhere), *legs[1:])
        changes["another gateway"] = replace(view, defaults=(replace(default, legs=other),))
    now = changes[data.draw(st.sampled_from(sorted(changes)))]
    settings = (unnumbered_host if unnumbered else host)(3, BOTH)
    drift = in_kernel(settings, family, used, now)
    assert drift is not None
    assert drift.where is Where.KERNEL
    assert drift.key == RouteKey(family.default_prefix)
    assert drift.state is (State.DIFFERS if now.defaults else State.MISSING)
    assert drift.hint
