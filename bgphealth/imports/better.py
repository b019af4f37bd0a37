"""What a command line of a check asks, where it is one of the usual ones: a check of our own.

Only a suggestion, in a comment: whether it is the same, a person must see. It needs no process per
check, and no shell.
"""

from __future__ import annotations

import re
import shlex
from ipaddress import ip_address
from urllib.parse import urlsplit

_BEFORE_IT = {"sudo", "env", "exec", "timeout", "nice"}
_TO_NOWHERE = re.compile(r"[12&]?>\s*/dev/null|2>&1")
_SHELL = re.compile(r"^[();<>|&]+$|[$`]")
_TYPES = {"A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"}
_WITH_VALUE = {
    "curl": {"-o", "-m", "-H", "-A", "-w", "--max-time", "--connect-timeout", "--output", "-X"},
    "wget": {"-O", "-T", "-t", "-U"},
    "dig": {"-p", "-t", "-b", "-q"},
    "nc": {"-w", "-s"},
}


def suggestion(command: str) -> str | None:
    """Return a check of ours, as in the file; None where nothing is suggested."""
    words = _words(_TO_NOWHERE.sub(" ", command))
    for place, word in enumerate(words):
        program = word.rsplit("/", 1)[-1]
        arguments = _arguments(words[place + 1 :], _WITH_VALUE.get(program, set()))
        match program:
            case "curl" | "wget":
                return _http(arguments)
            case "dig":
                return _dns(arguments)
            case "nc" | "ncat" | "netcat" if "-u" not in words:
                return _tcp(arguments)
            case _ if program not in _BEFORE_IT and not re.match(r"[-0-9]|\w+=", word):
                return None
    return None


def _words(command: str) -> list[str]:
    """Return the words of a plain command; none where a shell has more to do than to split it."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:
        return []
    return [] if any(_SHELL.search(word) for word in words) else words


def _arguments(words: list[str], with_value: set[str]) -> list[str]:
    """Return the words that are neither options nor their values."""
    kept = []
    is_value = False
    for word in words:
        if is_value:
            is_value = False
        elif word in with_value:
            is_value = True
        elif not word.startswith("-"):
            kept.append(word)
    return kept


def _http(arguments: list[str]) -> str | None:
    if len(arguments) != 1:
        return None
    url = arguments[0] if "://" in arguments[0] else f"http://{arguments[0]}"
    try:
        parts = urlsplit(url)
        host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not _is_address(host) or parts.username:
        return None
    inside = f"[{host}]" if ":" in host else host
    query = f"?{parts.query}" if parts.query else ""
    return f'{{http: "{parts.scheme}://{inside}{port}{parts.path or "/"}{query}"}}'


def _dns(arguments: list[str]) -> str | None:
    servers = [a[1:] for a in arguments if a.startswith("@")]
    asked = [a for a in arguments if a[0] not in "@+"]
    if len(servers) != 1 or not asked:
        return None
    server = "127.0.0.1" if servers[0] == "localhost" else servers[0]
    types = [a.upper() for a in asked if a.upper() in _TYPES]
    names = [a for a in asked if a.upper() not in _TYPES | {"IN"}]
    name = names[0].rstrip(".") if names else "."
    if not _is_address(server) or not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        return None
    kind = f", type: {types[0]}" if types and types[0] != "A" else ""
    return f'{{dns: {{server: "{server}", name: "{name}"{kind}}}}}'


def _tcp(arguments: list[str]) -> str | None:
    if len(arguments) != 2 or not arguments[1].isdecimal():  # noqa: PLR2004 - host and port
        return None
    host = "127.0.0.1" if arguments[0] == "localhost" else arguments[0]
    if not _is_address(host):
        return None
    inside = f"[{host}]" if ":" in host else host
    return f'{{tcp: "{inside}:{arguments[1]}"}}'


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
