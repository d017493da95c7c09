"""NVIDIA's compiler wheels in the user's cache, several releases side by side, each one known by its hash.

Nothing of NVIDIA's is part of shim: the wheel comes from the index that the user's pip is set up for.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from shim.errors import ToolError
from shim.process import run
from shim.store import cache_root, private_folder
from shim.toolchain.nvjitlink import ask_library, is_library
from shim.toolchain.pins import Pin, WheelFile, library_pins, own_pins
from shim.toolchain.pip import pip_command
from shim.toolchain.tool import Tool, ask_version

OFFLINE = "SHIM_OFFLINE"
_FETCH_SECONDS = 1800.0
_EXTRA = "sm121-shim[ptxas]"


def is_offline(environ: Mapping[str, str] | None = None) -> bool:
    """True if SHIM_OFFLINE forbids fetching: set, and not to an empty text or `0`."""
    environ = os.environ if environ is None else environ
    return environ.get(OFFLINE, "") not in ("", "0")


class ToolStore:
    """The folder of unpacked compiler wheels. Safe for several processes at once."""

    def __init__(self, root: Path, *, pins: tuple[Pin, ...] | None = None, machine: str | None = None) -> None:
        self.root = root
        self.pins = own_pins() if pins is None else pins
        self.machine = machine or platform.machine()

    @classmethod
    def default(cls) -> ToolStore:
        """Return the store in shim's cache folder."""
        return cls(cache_root() / "tools")

    @classmethod
    def libraries(cls) -> ToolStore:
        """Return the same folder, for libraries instead of programs."""
        return cls(cache_root() / "tools", pins=library_pins())

    def tools(self, name: str) -> tuple[Tool, ...]:
        """Return the working tools of this name that are in the store. Fetches nothing."""
        found = []
        for pin in self.pins:
            with contextlib.suppress(ToolError):
                if tool := self._tool(pin, name):
                    found.append(tool)
        return tuple(found)

    def fetch(self, pin: Pin, name: str, *, offline: bool = False) -> Tool:
        """Return a tool of this release, fetching the wheel if it is not here yet (30 to 50 MB).

        Raises:
            ToolError: fetching is forbidden or fails, the file is not the pinned one, or the tool does not
                run on this machine.
        """
        wheel = pin.wheels.get(self.machine)
        if wheel is None:
            raise ToolError(f"there is no {pin.requirement} for {self.machine}")
        with contextlib.suppress(ToolError):  # one that is there and does not run is fetched again
            if tool := self._tool(pin, name):
                return tool
        if offline or is_offline():
            raise ToolError(
                f"{name} of {pin.requirement} is not in the tool store, and {OFFLINE} forbids fetching",
                hint=f"install it yourself: pip install '{pin.requirement}'"
                f" ({_EXTRA} brings the one for CUDA 13.0), or unset {OFFLINE}",
            )
        private_folder(self.root)
        with _locked(self.root / f"{self._folder(pin).name}.lock"):
            self._install(pin, wheel, name)
        tool = self._tool(pin, name)
        if tool is None:
            raise ToolError(f"{pin.requirement} holds no {name}")
        return tool

    def _folder(self, pin: Pin) -> Path:
        return self.root / f"{pin.name}-{self.machine}"

    def _tool(self, pin: Pin, name: str) -> Tool | None:
        path = self._folder(pin) / name
        if not path.is_file():
            return None
        return (ask_library if is_library(name) else ask_version)(path, name=name, origin="store")

    def _install(self, pin: Pin, wheel: WheelFile, name: str) -> None:
        """Fetch and unpack under the lock, and move into place at the end."""
        folder = self._folder(pin)
        with contextlib.suppress(ToolError):
            if self._tool(pin, name):  # another process was faster
                return
        unfinished = f".{folder.name}-"
        for left in self.root.glob(f"{unfinished}*"):  # of a process that was killed: we hold its lock
            shutil.rmtree(left, ignore_errors=True)
        try:
            with tempfile.TemporaryDirectory(dir=self.root, prefix=unfinished) as work:
                unpacked = Path(work) / "unpacked"
                _unpack(_download(pin, wheel, Path(work)), pin, unpacked)
                shutil.rmtree(folder, ignore_errors=True)
                unpacked.rename(folder)
        except OSError as err:
            raise ToolError(f"cannot write to the tool store {self.root}: {err.strerror}") from err


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock, which the kernel drops if this process is killed."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as err:
        raise ToolError(f"cannot lock {path}: {err.strerror}") from err
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _download(pin: Pin, wheel: WheelFile, work: Path) -> Path:
    options = ("--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--quiet")
    done = run(
        [*pip_command(pin.requirement), "download", *options, "--dest", work, pin.requirement], timeout=_FETCH_SECONDS
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"pip ended with {done.ending}"]
        raise ToolError(
            f"pip could not download {pin.requirement}: {said[-1]}",
            hint="pip uses your own index settings (pip config list); "
            f"with no network install a toolkit or {_EXTRA} beforehand",
        )
    path = work / wheel.file
    if not path.is_file():
        got = ", ".join(sorted(found.name for found in work.glob("*.whl"))) or "nothing"
        raise ToolError(f"pip did not download {wheel.file}, but {got}", hint="check the index pip uses")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != wheel.sha256:
        raise ToolError(
            f"{wheel.file} is not NVIDIA's file: sha256 {digest}, expected {wheel.sha256}",
            hint="check the index pip uses (pip config list); the file was not unpacked",
        )
    return path


def _unpack(wheel: Path, pin: Pin, folder: Path) -> None:
    """Write the pinned members side by side. The wheel's hash is known, so its content is trusted."""
    folder.mkdir(mode=0o700)
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in (*pin.programs, pin.license):
                target = folder / PurePosixPath(member).name
                with archive.open(member) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
                target.chmod(0o700 if member in pin.programs else 0o600)
    except (KeyError, zipfile.BadZipFile) as err:
        raise ToolError(f"{wheel.name} cannot be unpacked: {err}") from err
