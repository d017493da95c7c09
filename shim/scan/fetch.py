"""Fetches the wheel of a requirement into the cache folder, with pip and the user's own pip configuration.

Nothing is installed, and no code of the package runs: wheels only (`--only-binary=:all: --no-deps`). When there is no
wheel, the source distribution is fetched by `shim.scan.index`, as `pip download` would run its build backend.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shim.errors import InputError, ToolError, UsageError
from shim.process import Completed, run
from shim.store.folder import cache_root, private_folder
from shim.toolchain.pip import pip_command
from shim.toolchain.toolstore import is_offline

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# glibc of manylinux tags, newest first: pip prefers them in this order. 2.39 is Ubuntu 24.04, and so DGX OS 7.
_GLIBC_MINORS: Final = range(39, 4, -1)
_LEGACY: Final = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_NONE_FOUND: Final = ("No matching distribution found", "Could not find a version that satisfies")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A file fetched for a requirement; `note` says what the user should know about it, or is ""."""

    path: Path
    note: str


def parse_requirement(text: str) -> Requirement:
    """Read a requirement such as `bitsandbytes==0.48.2`.

    Raises:
        UsageError: not a requirement, or one with an address, whose code pip might run.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise UsageError(
            f"{text!r} is neither a file nor a requirement: {str(error).splitlines()[0]}",
            hint="name an existing file or folder, or a requirement such as bitsandbytes==0.48.2",
        ) from error
    if requirement.url is not None:
        raise UsageError(
            f"{text!r}: requirements with an address are not fetched", hint="download the file and name it"
        )
    return requirement


def fetch(requirement: Requirement, *, machine: str | None, python: str | None, root: Path | None = None) -> Fetched:
    """Fetch the wheel that pip would take, else the source distribution.

    Args:
        machine: processor to fetch for ("aarch64"), None for this machine.
        python: version to fetch for ("3.12"), None for the running one.
        root: folder to keep it in; shim's cache folder when None.

    Raises:
        ToolError: pip is missing or failed, or fetching is forbidden by SHIM_OFFLINE.
        InputError: nothing fits the requirement, or the file cannot be kept.
    """
    folder = _folder(requirement, machine, python, root)
    kept = _kept(folder)
    if kept is not None and _is_pinned(requirement):
        return Fetched(path=kept, note=_note(kept, machine))
    if is_offline():
        raise ToolError(f"{requirement}: not in the cache, and SHIM_OFFLINE forbids fetching it")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetch-") as temporary:
        done = run(_command(requirement, machine, python, Path(temporary)))
        if done.returncode == 0:
            path = _only_file(Path(temporary), requirement)
        elif any(text in done.stderr for text in _NONE_FOUND):
            path = _sdist(requirement, python, Path(temporary), done)
        else:
            done.check()
            raise ToolError(f"pip could not fetch {requirement}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        kept = path.replace(folder / path.name)
    return Fetched(path=kept, note=_note(kept, machine))


def fetch_source(requirement: Requirement, *, python: str | None = None, root: Path | None = None) -> Fetched:
    """Fetch the source distribution, also where there is a wheel. None of its code runs.

    Raises:
        ToolError: as `fetch`. InputError: no index has one.
    """
    from shim.scan.index import fetch_sdist

    folder = _folder(requirement, "source", python, root)
    kept = _kept(folder)
    if kept is None or not _is_pinned(requirement):
        if is_offline():
            raise ToolError(f"{requirement}: not in the cache, and SHIM_OFFLINE forbids fetching it")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetch-") as temporary:
            found = fetch_sdist(requirement, python=python, folder=Path(temporary))
            if found is None:
                raise InputError(f"{requirement}: no index has a source distribution", hint="check the spelling")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
            kept = found.replace(folder / found.name)
    return Fetched(path=kept, note="")


def platform_tags(machine: str) -> tuple[str, ...]:
    """Platform tags that a Linux machine takes, best first; pip does not expand the newer ones by itself."""
    tags = []
    for minor in _GLIBC_MINORS:
        tags.append(f"manylinux_2_{minor}_{machine}")
        if minor in _LEGACY and (machine != "aarch64" or minor == 17):
            tags.append(f"{_LEGACY[minor]}_{machine}")
    return (*tags, f"linux_{machine}")


def _command(requirement: Requirement, machine: str | None, python: str | None, folder: Path) -> list[str]:
    command = [*pip_command(str(requirement)), "download", "--only-binary=:all:", "--no-deps", "--no-input"]
    command += ["--progress-bar=off", "--disable-pip-version-check", "--dest", str(folder)]
    for tag in platform_tags(machine) if machine else ():
        command += ["--platform", tag]
    if python is not None:
        command += ["--python-version", python, "--implementation", "cp"]
    return [*command, str(requirement)]


def _folder(requirement: Requirement, machine: str | None, python: str | None, root: Path | None) -> Path:
    wanted = f"{requirement}\n{machine}\n{python or sys.version_info[:2]}"
    key = hashlib.sha256(wanted.encode()).hexdigest()[:20]
    return private_folder((cache_root() if root is None else root) / "downloads") / key


def _kept(folder: Path) -> Path | None:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return files[0] if len(files) == 1 else None


def _is_pinned(requirement: Requirement) -> bool:
    specifiers = list(requirement.specifier)
    return any(one.operator in ("==", "===") and not one.version.endswith("*") for one in specifiers)


def _only_file(folder: Path, requirement: Requirement) -> Path:
    files = list(folder.iterdir())
    if len(files) != 1:
        names = ", ".join(sorted(path.name for path in files)) or "nothing"
        raise ToolError(f"pip was to fetch one file for {requirement}, found {names}")
    return files[0]


def _sdist(requirement: Requirement, python: str | None, folder: Path, done: Completed) -> Path:
    from shim.scan.index import fetch_sdist

    found = fetch_sdist(requirement, python=python, folder=folder)
    if found is None:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise InputError(
            "\n".join([f"{requirement}: neither a wheel nor a source distribution fits", *said[:2]]),
            hint="check the spelling, or try another --platform or --python",
        )
    return found


def _note(path: Path, machine: str | None) -> str:
    if path.name.endswith(".whl"):
        return ""
    where = machine or "this machine"
    return f"no wheel for {where}: this is the source distribution, unpacked without running its code"
