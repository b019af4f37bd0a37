"""Whatever the files of other health checkers say: a file of ours, or the line that is wrong."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from bgphealth.config import InvalidFileError, document
from bgphealth.config.load import check_document
from bgphealth.imports import anycast_healthchecker, exabgp_healthcheck
from bgphealth.imports.draft import FILL_IN, Input, Known
from tests.support.imports import SAMPLES

WORDS = st.sampled_from(
    [
        "",
        "0",
        "1",
        "3",
        "-1",
        "0.5",
        "1e3",
        "nan",
        "99999999999",
        "off",
        "a b",
        "65000:1",
        "no-export",
        "[ 65101 65101 ]",
        "192.0.2.1",
        "192.0.2.1/32",
        "192.0.2.0/30",
        "2001:db8::1/128",
        "0.0.0.0/0",
        "127.0.0.1",
        "*",
        "192.0.2.1%eth0",
        "curl -sf http://127.0.0.1/?a=b",
        "dig @::1 example.com # $x",
        "'",
        '"',
        "\\",
        "\x07",
        "%(x)s",
        "loopback",
    ]
) | st.text(max_size=8)
OPTION_LINES = st.lists(
    st.sampled_from(sorted(SAMPLES)).flatmap(
        lambda name: (
            st.tuples(st.just(name), st.just(SAMPLES[name]) | st.none() | WORDS)
            if SAMPLES[name]
            else st.tuples(st.just(name), st.none())
        )
    ),
    max_size=6,
)
CONF = """\
neighbor 10.0.1.0 { router-id 10.255.10.1; local-address 10.0.1.1; local-as 65101; peer-as 65001; }
neighbor 2001:db8:1::1 { local-address 2001:db8:1::2; local-as 65101; peer-as 65001; }
process p { run exabgp healthcheck --config o.conf; }
"""
INI_OPTIONS = st.sampled_from(
    sorted(anycast_healthchecker.SERVICE_OPTIONS | {"log_file", "pidfile", "unheard_of"})
)
WHOLE = """\
[DEFAULT]
check_cmd = /bin/true
[whole]
ip_prefix = 192.0.2.53/32
check_disabled = false
"""
INI = st.lists(
    st.tuples(
        st.sampled_from(["DEFAULT", "daemon", "web", "Two Words", "x.y"]),
        st.lists(st.tuples(INI_OPTIONS, WORDS), max_size=5),
    ),
    max_size=4,
)


def is_a_file_of_ours(text: str) -> None:
    """See that it is YAML, and that what is wrong with it is said, or is to be filled in."""
    read = document.parse("bgphealth.yaml", text.encode())
    assert not read.problems, text
    try:
        check_document(read)
    except InvalidFileError:
        return
    assert FILL_IN not in text


def tried(convert: Callable[[], str]) -> None:
    """See that an import gives a file of ours, or says what is wrong with theirs."""
    try:
        text = convert()
    except InvalidFileError as error:
        problems = error.problems
    else:
        is_a_file_of_ours(text)
        return
    assert problems
    assert all(problem.line >= 1 for problem in problems)


@given(OPTION_LINES, st.sampled_from([[], [Input("exabgp.conf", CONF)]]))
def test_options_become_a_file_or_an_error_with_a_line(
    lines: list[tuple[str, str | None]], conf: list[Input]
) -> None:
    options = "".join(
        f"{name.replace('_', '-')}{'' if value is None else f' = {value}'}\n"
        for name, value in lines
    )
    file = Input("o.conf", options)
    tried(lambda: exabgp_healthcheck.convert([file, *conf], Known(), lambda _: file))


@given(INI)
def test_ini_files_become_a_file_or_an_error_with_a_line(
    sections: list[tuple[str, list[tuple[str, str]]]],
) -> None:
    text = "".join(
        f"[{section}]\n" + "".join(f"{option} = {value}\n" for option, value in options)
        for section, options in sections
    )
    file = Input("a.conf", WHOLE + text)
    tried(lambda: anycast_healthchecker.convert([file], [], Known()))


@given(st.text(max_size=60) | st.text("neighbor{};'\"\\# process run\n", max_size=80))
def test_any_text_is_a_file_or_an_error_with_a_line(text: str) -> None:
    file = Input("x", text)
    tried(lambda: exabgp_healthcheck.convert([file], Known(), lambda _: None))
    tried(lambda: anycast_healthchecker.convert([file], [file], Known()))
