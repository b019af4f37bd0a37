"""What an operator can ask of a running program: the commands by name."""

from __future__ import annotations

from collections.abc import Mapping

from bgphealth.daemon.requests import Answer, Command, Kind, RefusalError, Request, shown


class Operator:
    """Answers requests about one program.

    Args:
        commands: by name; the modules that do them return them.
    """

    def __init__(self, *commands: Mapping[str, Command]) -> None:
        self._commands = {name: command for some in commands for name, command in some.items()}

    def command(self, request: Mapping[str, object]) -> Command:
        """Return what is asked for.

        Raises:
            RefusalError: there is no such command, or it has no such field.
        """
        name = request.get("command")
        command = self._commands.get(name) if isinstance(name, str) else None
        if command is None:
            known = ", ".join(sorted(self._commands))
            raise RefusalError(Kind.BAD_REQUEST, f"there is no command {shown(name)} ({known})")
        # What this version does not know could be what the request is about.
        for key in request:
            if key not in {"version", "command", *command.fields}:
                raise RefusalError(Kind.BAD_REQUEST, f"{shown(key)} is not known here")
        return command

    async def answer(self, request: Mapping[str, object], by: str = "") -> Answer:
        """Do what is asked for, by somebody, and return what came of it.

        Raises:
            RefusalError: it is not done.
        """
        command = self.command(request)
        fields = {key: request[key] for key in command.fields if key in request}
        return await command.answer(Request(fields, by))
