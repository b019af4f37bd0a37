"""Recheck: probes and checks are asked now, beside their turn, and what came of it is said.

An answer is one like all others: it counts once towards `rise` or `fall`. So that nobody can flood
anybody, there is one recheck at a time, the same is not asked again within a second, and what is
asked is spread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from bgphealth.core.health import Judgement, PathKey
from bgphealth.core.state import State
from bgphealth.daemon.probing import Now
from bgphealth.daemon.questions import PathQuestion, ServiceQuestion
from bgphealth.daemon.requests import Command, Kind, RefusalError, Request, unknown
from bgphealth.probes.outcome import Outcome

APART_S = 1.0
"""How long it takes at least until all is asked again."""

SPREAD_S = 0.005
"""From one question to the next."""

PATIENCE_S = 12.0
"""How long to wait for the last answers. A check may take longer; it counts all the same."""


class Asked(Protocol):
    """What can be asked."""

    @property
    def state(self) -> State:
        """The engine's state."""

    def asked(self, thing: str | None) -> list[Now]:
        """Return what can be asked now of an uplink or a service, or of all there is."""


def commands(program: Asked) -> dict[str, Command]:
    """Return what can be asked for."""
    return {"recheck": Command(_Rechecking(program).answer, frozenset({"thing"}))}


class _Rechecking:
    def __init__(self, program: Asked) -> None:
        self._program = program
        self._turn = asyncio.Lock()

    async def answer(self, request: Request) -> Mapping[str, object]:
        """Ask, wait for the answers, and return them with what is believed now."""
        thing = request.fields.get("thing")
        if thing is not None and not isinstance(thing, str):
            raise RefusalError(Kind.BAD_REQUEST, "thing must be a text")
        state = self._program.state
        if thing is not None and thing not in _names(state):
            raise unknown("thing", thing, state.settings)
        if self._turn.locked():
            raise RefusalError(Kind.BUSY, "another recheck is under way")
        async with self._turn:
            began = asyncio.get_running_loop().time()
            questions = self._program.asked(thing)
            outcomes = await _outcomes(questions)
            state = self._program.state
            judged = list(_judged(state, thing))
            left_s = began + APART_S - asyncio.get_running_loop().time()
            await asyncio.sleep(max(0.0, left_s))
        found = [_question(q.question, outcomes.get(n)) for n, q in enumerate(questions)]
        return {"asked": found, "verdicts": judged}


async def _outcomes(questions: list[Now]) -> Mapping[int, Outcome]:
    """Ask them, one after the other; return the answers that came in time, by their places."""
    outcomes: dict[int, Outcome] = {}
    everything = asyncio.Event()

    def heard(number: int, outcome: Outcome) -> None:
        outcomes[number] = outcome
        if len(outcomes) == len(questions):
            everything.set()

    for number, question in enumerate(questions):
        question.ask(partial(heard, number))
        await asyncio.sleep(SPREAD_S)
    if questions:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await everything.wait()
        except TimeoutError:
            pass  # Who has not answered is said.
    return dict(outcomes)


def _question(question: PathQuestion | ServiceQuestion, outcome: Outcome | None) -> object:
    match question:
        case PathQuestion(PathKey(uplink, family), (role, probe)):
            of = {"uplink": uplink, "family": family.value, "role": role.value}
        case ServiceQuestion(service, probe):
            of = {"service": service.name}
    rtt_s = None if outcome is None else outcome.rtt_s
    return {
        **of,
        "probe": str(probe),
        "answer": None if outcome is None else outcome.verdict.value,
        "detail": None if outcome is None else outcome.detail,
        "rtt_ms": None if rtt_s is None else round(rtt_s * 1000, 3),
    }


def _judged(state: State, thing: str | None) -> list[object]:
    """Return what is believed of the paths and services that were asked."""
    paths = [
        {"uplink": path.uplink, "family": path.family.value, **_verdict(verdict)}
        for path, verdict in state.path_verdicts.items()
        if thing in (None, path.uplink)
    ]
    services = [
        {"service": name, **_verdict(verdict)}
        for name, verdict in state.service_verdicts.items()
        if thing in (None, name)
    ]
    return [*paths, *services]


def _verdict(verdict: Judgement) -> dict[str, str]:
    return {"verdict": str(verdict.level), "reason": str(verdict.reason)}


def _names(state: State) -> list[str]:
    settings = state.settings
    return [*(u.name for u in settings.uplinks), *(s.name for s in settings.services)]
