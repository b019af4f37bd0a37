"""Who can change what runs with our rights."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bgphealth.config import load
from bgphealth.core.settings import Settings
from bgphealth.doctor import files
from bgphealth.trust import writable_by_others

HOST = Path(__file__).parents[1] / "golden" / "ipv4-only" / "bgphealth.yaml"
STRANGER = 54321


class Place:
    """A file, and a check in a directory beside it, each of ours alone; nothing around counts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "etc" / "bgphealth.yaml"
        self.check = directory / "lib" / "check"
        for file in (self.file, self.check):
            file.parent.mkdir(mode=0o755)
            file.write_text("")
            file.chmod(0o755)

    def settings(self) -> Settings:
        checks = f"checks: [{{exec: [{self.check}]}}]"
        service = f"services: {{s: {{prefixes: [192.0.2.9/32], {checks}}}}}"
        file = self.directory / "read.yaml"
        host = HOST.read_text(encoding="utf-8")
        file.write_text(f"{host.partition('services:')[0]}{service}\n")
        return load(file)

    def said(self, *users: int) -> list[str]:
        whom = {os.geteuid(), *users}
        found = writable_by_others(self.file, self.settings(), whom)
        # pytest's directories are not the matter, wherever they are.
        return [line for line in found if line.startswith(f"{self.directory}/")]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_ours_alone_is_well(place: Place) -> None:
    assert place.said() == []


@pytest.mark.parametrize("what", ["file", "check"])
def test_everybody_and_the_group(place: Place, what: str) -> None:
    file: Path = getattr(place, what)
    for changed in (file, file.parent):
        if os.geteuid() == 0:
            os.chown(changed, -1, STRANGER)
        changed.chmod(0o757)
        assert place.said() == [f"{changed} can be written by everybody"]
        changed.chmod(0o1777)
        assert place.said() == []
        changed.chmod(0o775)
        expected = [f"{changed} can be written by its group"] if os.geteuid() == 0 else []
        assert place.said() == expected
        changed.chmod(0o755)


def test_a_link_is_followed_and_its_own_way_counts(place: Place, tmp_path: Path) -> None:
    real = tmp_path / "real"
    place.check.rename(real)
    place.check.symlink_to(real)
    assert place.said() == []
    real.chmod(0o777)
    assert place.said() == [f"{real} can be written by everybody"]
    real.chmod(0o755)
    place.check.parent.chmod(0o777)
    assert place.said() == [f"{place.check.parent} can be written by everybody"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_somebody_else_owns_it(place: Place) -> None:
    os.chown(place.check, STRANGER, 0)
    assert place.said() == [f"{place.check} belongs to user {STRANGER}"]
    assert place.said(STRANGER) == []


def test_what_is_not_there_is_no_matter_of_this(place: Place) -> None:
    place.check.unlink()
    assert place.said() == []


async def test_the_doctor_says_so(place: Place) -> None:
    place.check.chmod(0o777)
    nobody = place.directory / "nobody.sock"
    found = await files.findings(place.settings(), file=place.file, control_socket=nobody)
    assert f"{place.check} can be written by everybody" in [it.found for it in found]
    assert {it.word for it in found} == {"writable_by_others"}
