"""anycast-healthchecker: its INI files, and the bird.conf beside them, become our file.

What they mean is read from its ``utils.py`` and ``servicecheck.py``, version 0.9.10.
"""

from __future__ import annotations

import configparser
import math
import re
import shlex
from decimal import Decimal
from ipaddress import ip_network
from typing import TYPE_CHECKING

from bgphealth.config.problems import InvalidFileError, Problem, shown
from bgphealth.config.writing import Flow, Noted
from bgphealth.core.settings import Mode
from bgphealth.imports import bird, draft
from bgphealth.imports.draft import Draft, Input, Known, Whole, slug, unique

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from bgphealth.imports.draft import Prefix

_DAEMON = "daemon"

_DEFAULTS = {
    "interface": "lo",
    "check_interval": "10",
    "check_timeout": "2",
    "check_rise": "2",
    "check_fail": "2",
    "check_disabled": "true",
    "on_disabled": "withdraw",
    "ip_check_disabled": "false",
    "custom_bird_reconfigure_cmd_timeout": "2",
}
SERVICE_OPTIONS = {*_DEFAULTS, "check_cmd", "ip_prefix", "custom_bird_reconfigure_cmd"}

_DAEMON_DEFAULTS = {"ipv4": "true", "ipv6": "false"}
_DAEMON_OPTIONS = {
    "nothing is written for BIRD: what is announced goes through ExaBGP": (
        "bird_conf",
        "bird6_conf",
        "bird_variable",
        "bird6_variable",
        "bird_reconfigure_cmd",
        "bird6_reconfigure_cmd",
        "bird_keep_changes",
        "bird6_keep_changes",
        "bird_changes_counter",
        "bird6_changes_counter",
        "dummy_ip_prefix",
        "dummy_ip6_prefix",
        "purge_ip_prefixes",
    ),
    "the log goes to stderr, one JSON object per line, and from there to the journal": (
        "loglevel",
        "log_file",
        "log_maxbytes",
        "log_backups",
        "log_server",
        "log_server_port",
        "log_format_journalctl",
        "json_stdout",
        "json_log_file",
        "json_log_server",
        "stderr_file",
        "stderr_log_server",
    ),
    "checks are spread over their interval by themselves": ("splay_startup",),
    "systemd knows the process": ("pidfile",),
    "the families are those of the prefixes": ("ipv4", "ipv6"),
    "bgphealth has metrics of its own": (
        "prometheus_exporter",
        "prometheus_collector_textfile_dir",
        "prometheus_exporter_interval",
    ),
}
DAEMON_OPTIONS = {option for options in _DAEMON_OPTIONS.values() for option in options}

_CHECKS = (
    "Checks: exit status 0 is ok, as before, and without a shell. They run in /, without input, "
    "with PATH and LANG=C and nothing else in the environment."
)
_FILTERS = (
    "What BIRD's export filters add (communities, MED, prepending) is `announce` of a service; "
    "what else BIRD exports is not imported."
)


def convert(files: Sequence[Input], birds: Sequence[Input], known: Known) -> str:
    """Return our file for INI files, in the order in which they are read, and BIRD's.

    Raises:
        InvalidFileError: A file is wrong, or there is nothing in it to import.
    """
    ini = _Ini(files)
    services: list[Draft] = []
    disabled: list[str] = []
    owner: dict[Prefix, str] = {}
    names = [name for name in ini.parser.sections() if name != _DAEMON]
    if not names:
        message = "there is no section of a service; give the directory with the services as well"
        raise InvalidFileError([Problem(files[0].name, 1, "", message)])
    for name in names:
        service = _Service(ini, name)
        prefix = service.prefix
        if prefix in owner:
            raise ini.invalid(name, "ip_prefix", f"{prefix} is [{owner[prefix]}]'s already")
        owner[prefix] = name
        if service.is_withdrawn:
            disabled.append(
                f"NOT IMPORTED: {ini.at(name)}: [{name}], {prefix}: check_disabled, and withdrawn."
            )
            continue
        services.append(service.draft({each.name for each in services}))
    said = ", ".join(file.name for file in (*files, *birds))
    about = [
        f"From {said}: `bgphealth import anycast-healthchecker`.",
        _CHECKS,
        *([_FILTERS] if birds else []),
        *_of_daemon(ini),
        *disabled,
    ]
    policy = {"all_down": Noted("keep_last", beside="as before: a service keeps its last router")}
    mode = known.mode or Mode.FRR
    return draft.text(Whole(about, mode, bird.read(birds), services, policy), known)


def _of_daemon(ini: _Ini) -> Iterator[str]:
    given = ini.given(_DAEMON)
    for why, options in _DAEMON_OPTIONS.items():
        if found := [option for option in options if option in given]:
            yield f"[daemon] {', '.join(found)}: {why}."
    if unknown := sorted(given - DAEMON_OPTIONS - set(_DEFAULTS)):
        yield f"[daemon] {', '.join(unknown)}: anycast-healthchecker does not know it either."


class _Service:
    """One section, with what it inherits."""

    def __init__(self, ini: _Ini, name: str) -> None:
        self._ini = ini
        self._name = name
        self._interval = self._seconds("check_interval")
        self._timeout = self._seconds("check_timeout")
        self._rise = self._count("check_rise")
        self._fall = self._count("check_fail")
        self._is_disabled = self._truth("check_disabled")
        self._looks_at_address = not self._truth("ip_check_disabled")
        self._on_disabled = self._text("on_disabled")
        if self._on_disabled not in ("withdraw", "advertise"):
            raise ini.invalid(
                name,
                "on_disabled",
                f"must be withdraw or advertise, not {shown(self._on_disabled)}",
            )
        self._command = self._words()
        self.prefix = self._prefix()

    @property
    def is_withdrawn(self) -> bool:
        """Return whether it is never announced."""
        return self._is_disabled and self._on_disabled == "withdraw"

    def draft(self, taken: Collection[str]) -> Draft:
        """Return it as a service of ours."""
        keys: dict[str, object] = {"prefixes": [str(self.prefix)], **self._judged()}
        keys["address"] = self._address()
        return Draft(unique(slug(self._name), taken), tuple(self._remarks()), keys, (self.prefix,))

    def _judged(self) -> dict[str, object]:
        if self._is_disabled:
            return {}
        above = []
        if not self._command[0].startswith("/"):
            above.append(
                f"check_cmd: {self._command[0]} is searched for in PATH by env; better write "
                "where it is."
            )
        above += draft.better(self._text("check_cmd"))
        command = self._command if self._command[0].startswith("/") else self._by_path()
        return {
            "checks": Noted([Flow({"exec": command})], above=above),
            "interval": draft.interval(self._interval, "check_interval"),
            "timeout": draft.timeout(self._timeout, self._interval, "check_timeout"),
            "fall": draft.count(self._fall, "check_fail"),
            "rise": draft.count(self._rise, "check_rise"),
            "on_down": Noted(
                "withdraw", beside="as before; guarded: never from the last healthy server"
            ),
        }

    def _by_path(self) -> list[str]:
        return ["/usr/bin/env", *self._command]

    def _address(self) -> Noted:
        if not self._looks_at_address:
            return Noted("ignore", beside="ip_check_disabled")
        if self.prefix.prefixlen < self.prefix.max_prefixlen:
            return Noted(
                "expect",
                above="Only the address of a /32 or /128 is looked for; this prefix was, as it is.",
            )
        interface = self._text("interface")
        where = "" if interface == "lo" else f"; on any interface, not only {interface}"
        return Noted("expect", beside=f"announced only while it is on this host{where}")

    def _remarks(self) -> Iterator[str]:
        yield self._ini.at(self._name)
        if slug(self._name) != self._name:
            yield f"It was called {self._name!r}."
        if self._is_disabled:
            yield "check_disabled, on_disabled = advertise: announced all the time."
        given = self._ini.given(self._name)
        if self._is_disabled and "check_cmd" in given:
            yield f"check_cmd, if it is to be checked again: {self._text('check_cmd')}"
        custom = [o for o in sorted(given) if o.startswith("custom_bird_reconfigure_cmd")]
        if custom:
            shown_custom = "; ".join(f"{o} = {self._text(o)}" for o in custom)
            yield (
                f"{shown_custom}: no command is run on a change; follow the log (event "
                "service_changed)."
            )
        if "on_disabled" in given and not self._is_disabled:
            yield f"on_disabled = {self._on_disabled}: to disable it, `bgphealth drain service`."
        if unknown := sorted(given - SERVICE_OPTIONS):
            yield f"{', '.join(unknown)}: anycast-healthchecker does not know it either."

    # ---- values, by their rules ----

    def _text(self, option: str) -> str:
        try:
            return self._ini.parser.get(self._name, option)
        except configparser.NoOptionError:
            raise self._ini.invalid(self._name, "", f"{option} is missing") from None
        except configparser.InterpolationError as error:
            message = f"{error.message.splitlines()[0]}; a plain % is written %%"
            raise self._ini.invalid(self._name, option, message) from None

    def _seconds(self, option: str) -> Decimal:
        text = self._text(option)
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or number < 0:
            message = f"must be a number of seconds, not {shown(text)}"
            raise self._ini.invalid(self._name, option, message)
        return Decimal(str(number))

    def _count(self, option: str) -> int:
        text = self._text(option)
        try:
            return int(text)
        except ValueError:
            message = f"must be a whole number, not {shown(text)}"
            raise self._ini.invalid(self._name, option, message) from None

    def _truth(self, option: str) -> bool:
        text = self._text(option).lower()
        if text not in configparser.ConfigParser.BOOLEAN_STATES:
            message = f"must be true or false, not {shown(text)}"
            raise self._ini.invalid(self._name, option, message)
        return configparser.ConfigParser.BOOLEAN_STATES[text]

    def _words(self) -> list[str]:
        text = self._text("check_cmd")
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise self._ini.invalid(self._name, "check_cmd", str(error)) from None
        if not words or not all(word.isprintable() for word in words):
            message = "must be a command in one line, without control characters"
            raise self._ini.invalid(self._name, "check_cmd", message)
        return words

    def _prefix(self) -> Prefix:
        text = self._text("ip_prefix")
        try:
            prefix = ip_network(text)
        except ValueError:
            message = f"must be an IP prefix, not {shown(text)}"
            raise self._ini.invalid(self._name, "ip_prefix", message) from None
        family = f"ipv{prefix.version}"
        if self._ini.has_daemon and not self._ini.enabled(family):
            message = f"{prefix}, but [daemon] has {family} = false"
            raise self._ini.invalid(self._name, "ip_prefix", message)
        return prefix


class _Ini:
    """All the files, read as one, and where everything in them is."""

    def __init__(self, files: Sequence[Input]) -> None:
        self.parser = configparser.ConfigParser()
        self.parser.read_dict({"DEFAULT": _DEFAULTS, _DAEMON: _DAEMON_DEFAULTS})
        self._lines: dict[tuple[str, str], tuple[str, int]] = {}
        self.has_daemon = False
        for file in files:
            self._note(file)
            try:
                self.parser.read_string(file.text, file.name)
            except configparser.MissingSectionHeaderError as error:
                raise _no_option(file, error.lineno) from None
            except configparser.ParsingError as error:
                raise _no_option(file, error.errors[0][0]) from None
            except (configparser.DuplicateOptionError, configparser.DuplicateSectionError) as error:
                what = getattr(error, "option", None) or f"[{error.section}]"
                message = f"{what} is given twice"
                raise InvalidFileError(
                    [Problem(file.name, error.lineno or 1, "", message)]
                ) from None

    def _note(self, file: Input) -> None:
        section = ""
        for number, text in enumerate(file.text.splitlines(), 1):
            if header := re.match(r"\[(.+)\]", text):
                section = header[1]
                self._lines[section, ""] = (file.name, number)
                self.has_daemon |= section == _DAEMON
            elif option := re.match(r"([^\s#;=:][^=:]*?)\s*[=:]", text):
                self._lines[section, option[1].lower()] = (file.name, number)

    def given(self, section: str) -> set[str]:
        """Return the options that a section has itself."""
        return {option for name, option in self._lines if name == section and option}

    def enabled(self, option: str) -> bool:
        """Return a truth of [daemon]; what is no truth is one of theirs to refuse."""
        text = self.parser.get(_DAEMON, option, raw=True).lower()
        return configparser.ConfigParser.BOOLEAN_STATES.get(text, True)

    def at(self, section: str) -> str:
        """Return where a section is."""
        file, line = self._lines[section, ""]
        return f"{file}:{line}"

    def invalid(self, section: str, option: str, message: str) -> InvalidFileError:
        """Return the error for a value: where it is, or what it is inherited by."""
        for place in ((section, option), ("DEFAULT", option), (section, "")):
            if place in self._lines:
                file, line = self._lines[place]
                path = f"[{section}] {option}".rstrip()
                return InvalidFileError([Problem(file, line, path, message)])
        raise AssertionError(f"[{section}] is in no file")


def _no_option(file: Input, line: int) -> InvalidFileError:
    message = "must be a [section], or option = value"
    return InvalidFileError([Problem(file.name, line, "", message)])
