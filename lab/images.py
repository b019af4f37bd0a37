"""Builds the images of containerlab's nodes: Debian 12 and 13, each with its FRR, and this tree.

In two layers. The lower one is a Debian with what a node needs of the distribution: from the public
image and apt where a registry answers, from debootstrap elsewhere; it is made once. The upper one
has the libraries and this tree; it is made anew when the tree has changed, in seconds, and needs
no network inside of a container.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from lab import docker
from lab.errors import LabError, NotPermittedError, TimedOutError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT: Final = Path(__file__).resolve().parent.parent
RECIPE: Final = ROOT / ".packaging" / "container"
CONSTRAINTS: Final = ROOT / ".packaging" / "constraints.txt"

NAME: Final = "bgphealth-lab"
_LABEL: Final = "bgphealth.made-from"
_PULL_TIMEOUT_S: Final = 120.0
_BUILD_TIMEOUT_S: Final = 1200.0
_END_TIMEOUT_S: Final = 60.0

_SCRIPTS: Final = ("bgphealth", "exabgp", "exabgp-cli", "exabgp-healthcheck")
_PACKAGES: Final = (
    *("frr", "frr-pythontools", "iproute2", "iputils-ping", "nftables", "procps", "python3"),
    *("systemd-standalone-sysusers", "tcpdump"),  # the former instead of all of systemd
)


@dataclass(frozen=True, slots=True)
class Image:
    """One of the images."""

    tag: str
    suite: str
    public: str
    python: str

    @property
    def name(self) -> str:
        """Return the name that a topology file has."""
        return f"{NAME}:{self.tag}"

    @property
    def base(self) -> str:
        """Return the name of its lower layer."""
        return f"{NAME}-base:{self.suite}"


IMAGES: Final = (
    Image("frr8.4", "bookworm", "debian:12-slim", "3.11"),
    Image("frr10.3", "trixie", "debian:13-slim", "3.13"),
)
LATEST: Final = IMAGES[0]
"""What ``bgphealth-lab:latest`` is."""


def build(progress: Callable[[str], None]) -> list[str]:
    """Build what is missing or older than this tree; return the names of all images.

    Raises:
        LabError: A step failed.
    """
    for image in IMAGES:
        _build_base(image, progress)
    stale = [image for image in IMAGES if _label(image.name) != _digest(image)]
    if stale:
        with tempfile.TemporaryDirectory() as directory:
            progress("images: the wheel of this tree")
            wheel = _wheel(Path(directory))
            for image in stale:
                progress(f"images: {image.name}")
                context = Path(directory, image.tag)
                _fill(context, image, wheel)
                recipe = shutil.copy(RECIPE / "Dockerfile", context)
                _build(image.name, image.base, _digest(image), Path(recipe), "--network=none")
    _do("docker", "tag", LATEST.name, f"{NAME}:latest")
    return [image.name for image in IMAGES]


def _build_base(image: Image, progress: Callable[[str], None]) -> None:
    made_from = _base_digest()
    if _label(image.base) == made_from:
        return
    if _pulls(image.public):
        progress(f"images: {image.base} from {image.public}")
        packages = f"PACKAGES={' '.join(_PACKAGES)}"
        recipe = RECIPE / "Dockerfile.base"
        _build(image.base, image.public, made_from, recipe, "--build-arg", packages)
        return
    progress(f"images: {image.base} by debootstrap, for no registry has {image.public}")
    with tempfile.TemporaryFile() as archive:
        debootstrap(image, archive)
        archive.seek(0)
        change = f"LABEL {_LABEL}={made_from}"
        _do("docker", "import", "--change", change, "-", image.base, stdin=archive)


def debootstrap(image: Image, archive: IO[bytes]) -> None:
    """Write the root file system of an image as a tar archive.

    Raises:
        LabError: It was not made; nothing of it is left.
    """
    if shutil.which("debootstrap", path=docker.path()) is None:
        raise UnavailableError("no debootstrap here (lab/setup.sh containerlab installs it)")
    if os.geteuid() != 0:
        raise NotPermittedError("a root file system by debootstrap needs root (try sudo)")
    command = [str(RECIPE / "base"), image.suite, mirror(), *_PACKAGES]
    status, said = _here(command, stdout=archive)
    if status:
        last = said.splitlines()[-20:]
        raise LabError("\n".join([f"no root file system of {image.suite}:", *last]))


def mirror() -> str:
    """Return where apt gets this machine's packages, if they are Debian's; else nothing."""
    fields = ("$(ORIGIN)", "$(CODENAME)", "$(COMPONENT)", "$(REPO_URI)")
    with contextlib.suppress(FileNotFoundError):
        lists = subprocess.run(
            ["apt-get", "indextargets", "--format", "\t".join(fields)],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.splitlines()
        for origin, suite, component, mirror in (line.split("\t") for line in lists):
            is_debian = (origin, component) == ("Debian", "main")
            if is_debian and suite in {image.suite for image in IMAGES}:
                return mirror
    return ""


def _wheel(directory: Path) -> Path:
    _pip("wheel", "--no-deps", "--wheel-dir", str(directory), str(ROOT))
    (wheel,) = directory.glob("*.whl")
    return wheel


def _fill(context: Path, image: Image, wheel: Path) -> None:
    """Make the directory that an image is built from.

    By our own pip, for another Python: nothing is fetched inside of a container.
    """
    modules = Path("lib", f"python{image.python}", "dist-packages")
    for layer, what in (("libraries", ("-r", str(CONSTRAINTS))), ("program", (str(wheel),))):
        target = context / layer / modules
        _pip(
            *("install", "--no-deps", "--no-compile", "--only-binary=:all:"),
            *("--python-version", image.python, "--implementation", "cp"),
            *(f"--platform=manylinux_2_{minor}_{platform.machine()}" for minor in (28, 17)),
            *("--target", str(target), *what),
        )
        _keep_scripts(target, context / layer / "bin")
    for record in context.glob("program/**/direct_url.json"):
        record.unlink()  # the place where the wheel was made
    for module in _lab_modules():
        copy = context / "program" / modules / module.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module, copy)
    (context / "program" / "sbin").mkdir()
    shutil.copy(RECIPE / "node", context / "program" / "sbin" / "node")


def _keep_scripts(target: Path, programs: Path) -> None:
    """Move the programs that a node needs, and let them run by its own Python."""
    programs.mkdir()
    for script in (target / "bin").glob("*"):
        if script.name in _SCRIPTS:
            _, _, text = script.read_text(encoding="utf-8").partition("\n")
            (programs / script.name).write_text(f"#!/usr/bin/python3\n{text}", encoding="utf-8")
            (programs / script.name).chmod(0o755)
    for left in ("bin", "etc", "share"):
        shutil.rmtree(target / left, ignore_errors=True)


def _lab_modules() -> list[Path]:
    """Return the modules of the lab's package, which run in nodes as well."""
    found = sorted((ROOT / "lab").glob("**/*.py"))
    return [module for module in found if (module.parent / "__init__.py").exists()]


def _digest(image: Image) -> str:
    """Return a name for all that an image is made from."""
    trees = [ROOT / "bgphealth", ROOT / "frr-templates", RECIPE]
    files = [file for tree in trees for file in sorted(tree.rglob("*")) if file.is_file()]
    files = [file for file in files if "__pycache__" not in file.parts]
    parts = [_base_digest().encode(), image.python.encode()]
    for file in (*files, *_lab_modules(), ROOT / "pyproject.toml", CONSTRAINTS):
        parts += [str(file.relative_to(ROOT)).encode(), file.read_bytes()]
    return _sha(parts)


def _base_digest() -> str:
    recipe = [(RECIPE / name).read_bytes() for name in ("base", "Dockerfile.base")]
    return _sha([" ".join(_PACKAGES).encode(), *recipe])


def _sha(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _label(name: str) -> str | None:
    """Return what an image was made from, or None where there is none of that name."""
    form = f'{{{{index .Config.Labels "{_LABEL}"}}}}'
    found = docker.run("docker", "image", "inspect", "--format", form, name)
    return found.stdout.strip() if found.returncode == 0 else None


def _pulls(name: str) -> bool:
    """Try quickly whether a registry has an image."""
    with contextlib.suppress(TimedOutError):
        done = docker.run("docker", "pull", "--quiet", name, timeout_s=_PULL_TIMEOUT_S)
        return done.returncode == 0
    return False


def _build(image: str, base: str, made_from: str, recipe: Path, *options: str) -> None:
    """Let Docker build an image, by the builder that needs no plugin."""
    _do(
        *("env", "DOCKER_BUILDKIT=0", "docker", "build", "--quiet", "--tag", image),
        *("--build-arg", f"BASE={base}", "--label", f"{_LABEL}={made_from}", *options),
        *("--file", str(recipe), str(recipe.parent)),
    )


def _do(*command: str, stdin: IO[bytes] | int = subprocess.DEVNULL) -> None:
    done = docker.run(*command, stdin=stdin, timeout_s=_BUILD_TIMEOUT_S)
    if done.returncode:
        raise LabError(f"'{' '.join(command)}' failed:\n{done.stdout}{done.stderr}".rstrip())


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    status, said = _here(command)
    if status:
        raise LabError(f"'{' '.join(command)}' failed:\n{said}")


def _here(command: list[str], stdout: IO[bytes] | None = None) -> tuple[int, str]:
    """Run a command without Docker; return its status and what it said.

    Whatever ends it, a Ctrl-C or its time, ends all that it started; it may clean up behind it.

    Raises:
        TimedOutError: It did not end.
    """
    with subprocess.Popen(
        command,
        env={**os.environ, "PATH": docker.path()},
        stdin=subprocess.DEVNULL,
        stdout=stdout or subprocess.PIPE,
        stderr=subprocess.PIPE if stdout else subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            said, errors = process.communicate(timeout=_BUILD_TIMEOUT_S)
        except BaseException as error:
            _end(process)
            if isinstance(error, subprocess.TimeoutExpired):
                what = f"'{' '.join(command)}' still ran after {_BUILD_TIMEOUT_S:g} s"
                raise TimedOutError(what) from None
            raise
    return process.returncode, (errors or said or b"").decode(errors="replace").strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
