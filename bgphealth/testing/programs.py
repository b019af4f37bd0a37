"""How containerlab and docker are run."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from bgphealth.testing.errors import ClabError

DEPLOY_TIMEOUT_S = 600.0
"""The first time it may have to fetch images."""

_NO_QUESTIONS = {"CLAB_VERSION_CHECK": "disable"}
"""containerlab asks the Internet for its newest version, for seconds where there is none."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Runs containerlab and docker, with what stands before them and in their environment."""

    prefix: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def line(self, *words: str) -> str:
        """Return a command as somebody would type it."""
        return shlex.join((*self.prefix, *words))

    def run(
        self, *words: str, timeout_s: float, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, whatever its status; `given` is its standard input.

        Raises:
            ClabError: there is no such program, or it may not be run.
            subprocess.TimeoutExpired: it took longer.
        """
        command = [*self.prefix, *words]
        try:
            return subprocess.run(  # noqa: S603 - a list, from the options and the test
                command,
                env={**os.environ, **_NO_QUESTIONS, **self.environment},
                input="" if given is None else given,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except FileNotFoundError:
            how = ": https://containerlab.dev/install/" if command[0] == "containerlab" else ""
            raise ClabError(
                f"{command[0]} is not installed, or not in PATH{how}.\n"
                "--clab-command says how containerlab and docker are run, here or elsewhere."
            ) from None
        except OSError as error:
            # subprocess kills what took too long or was interrupted; of sudo it may not.
            if error.filename is None and error.__context__ is not None:
                raise error.__context__ from None
            raise ClabError(f"{command[0]}: {error.strerror}") from None
