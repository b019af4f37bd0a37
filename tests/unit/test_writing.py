from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from bgphealth.config import document
from bgphealth.config.writing import Flow, Noted, write

TEXT = st.text(st.characters(codec="utf-8", categories=["L", "M", "N", "P", "S", "Zs"])).filter(
    str.isprintable
)
KEYS = st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True).filter(
    lambda key: key not in {"null", "true", "false"}
)
SCALARS = TEXT | st.integers() | st.booleans()
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(KEYS, inner, min_size=1, max_size=3)
        | st.builds(Flow, st.dictionaries(KEYS, SCALARS, min_size=1, max_size=3))
    ),
    max_leaves=8,
)
ENTRIES = st.dictionaries(
    KEYS,
    VALUES | st.builds(Noted, VALUES, TEXT, st.lists(TEXT, max_size=2)),
    min_size=1,
    max_size=4,
)


def plain(value: object) -> object:
    match value:
        case Noted(value=inner):
            return plain(inner)
        case Flow(entries=entries) | dict(entries):
            return {key: plain(each) for key, each in entries.items()}
        case list():
            return [plain(each) for each in value]
        case _:
            return value


def read(text: str) -> dict[str, object]:
    found = document.parse("written.yaml", text.encode())
    assert not found.problems
    return found.data


@given(ENTRIES, st.lists(TEXT, max_size=2))
def test_what_is_written_reads_back_as_the_same(
    entries: dict[str, object], head: list[str]
) -> None:
    assert read(write(entries, head)) == plain(entries)


@given(st.sampled_from(["true", "no", "null", "1", "1.0", "1e3", "0x1", "~", "off", "2001:db8::"]))
def test_a_text_stays_a_text(text: str) -> None:
    assert read(write({"key": text, "list": [text]})) == {"key": text, "list": [text]}


def test_it_looks_as_a_person_would_write_it(golden: Callable[[str, str], None]) -> None:
    written = write(
        {
            "version": 1,
            "host": Noted(
                {
                    "asn": Noted(65101, beside="the AS"),
                    "source": Noted(Flow({"ipv4": "10.0.0.1", "ipv6": "2001:db8::"}), "both"),
                },
                above=["Who we are. " * 12],
            ),
            "services": {
                "dns": {
                    "prefixes": ["192.0.2.53/32", "2001:db8::53/128"],
                    "checks": [Flow({"exec": ["/bin/sh", "-c", "a | b"]})],
                    "interval": Noted("1s", beside="too long for the line " * 4),
                }
            },
        },
        ["Made from something."],
    )
    golden("writing.yaml", written)
