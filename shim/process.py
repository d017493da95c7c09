"""The one way shim runs another program: no shell, bounded output, measured, not outlived by its children."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import IO

from shim.errors import ToolError

OUTPUT_LIMIT = 16 << 20
"""Bytes kept of each of stdout and stderr; the rest is read, counted and dropped."""

_PIECE = 1 << 16
_GRACE = 1.0  # seconds between SIGTERM and SIGKILL: nvcc and pip remove their temporary files on SIGTERM
_TICK = 0.05  # seconds; how late a cancellation, or an exit with open pipes, may be noticed
_QUOTED_LINES = 8


class ToolTimeoutError(ToolError):
    """The program did not end in the time it was given."""


class ToolCancelledError(ToolError):
    """The caller's `cancel` event was set while the program ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A program that has ended, whatever its exit code.

    Attributes:
        argv: the command line as run.
        returncode: exit code; -N when signal N ended it.
        stdout: what was written to standard output, invalid UTF-8 replaced, at most `OUTPUT_LIMIT` bytes.
        stderr: the same for standard error.
        seconds: wall time.
        cpu_seconds: user and system time of the program and the children it waited for.
        max_rss: peak resident bytes. Linux carries the peak of the forking process over an exec, so for a
            program smaller than shim itself this is shim's own size: an upper bound, not a measurement.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float
    cpu_seconds: float
    max_rss: int

    @property
    def program(self) -> str:
        """File name of the program, for messages."""
        return Path(self.argv[0]).name

    @property
    def ending(self) -> str:
        """How it ended, in words: `exit code 255`, `signal SIGSEGV`."""
        if self.returncode >= 0:
            return f"exit code {self.returncode}"
        try:
            return f"signal {signal.Signals(-self.returncode).name}"
        except ValueError:
            return f"signal {-self.returncode}"

    def check(self) -> Completed:
        """Return self, or raise ToolError with the first lines of stderr if the exit code is not 0."""
        if self.returncode == 0:
            return self
        said = (self.stderr.strip() or self.stdout.strip()).splitlines()
        text = "\n".join(["", *said[:_QUOTED_LINES]])
        more = f"\n... {len(said) - _QUOTED_LINES} more lines" if len(said) > _QUOTED_LINES else ""
        raise ToolError(f"{self.program} ended with {self.ending}{text}{more}")


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout: float | None = None,
    max_rss: int | None = None,
    pass_fds: Collection[int] = (),
    cancel: Event | None = None,
) -> Completed:
    """Run a program to its end and return what it wrote and used.

    The program gets a session of its own, so a Ctrl-C in the terminal reaches shim alone, which then ends the
    whole group. Nothing of the group is left when this returns or raises. Safe to call from several threads.

    Args:
        argv: program and arguments; never goes through a shell.
        env: the whole environment; None = the present one.
        stdin: bytes to feed; None = empty.
        timeout: seconds of wall time.
        max_rss: bytes of private writable memory (RLIMIT_DATA, the nearest thing to RSS that Linux enforces);
            allocations beyond it fail inside the program.
        pass_fds: descriptors that stay open in the program, under the same numbers.
        cancel: checked while the program runs; when set, the group is ended.

    Raises:
        ToolError: the program is missing or cannot be run on this machine.
        ToolTimeoutError: see `timeout`.
        ToolCancelledError: see `cancel`.
    """
    words = tuple(str(word) for word in argv)
    started = time.monotonic()
    process = _spawn(words, cwd, env, stdin is not None, pass_fds)
    try:
        _limit_memory(process.pid, max_rss)
        stdout, stderr = _Capture(), _Capture()
        _pump(process, stdin or b"", stdout, stderr, _Stop(words, started, timeout, cancel))
    except BaseException:
        _end_group(process.pid)
        _reap(process)
        raise
    _end_group(process.pid)  # what the program left running in the background
    usage = _reap(process)
    return Completed(
        argv=words,
        returncode=process.returncode,
        stdout=stdout.text(),
        stderr=stderr.text(),
        seconds=time.monotonic() - started,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        max_rss=usage.ru_maxrss * 1024,
    )


class _Capture:
    """The first OUTPUT_LIMIT bytes of a stream, and how many more there were."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._dropped = 0

    def add(self, piece: bytes) -> None:
        room = OUTPUT_LIMIT - len(self._kept)
        self._kept += piece[:room]
        self._dropped += max(len(piece) - room, 0)

    def text(self) -> str:
        text = self._kept.decode("utf-8", errors="replace")
        return f"{text}\n[shim: {self._dropped} more bytes not kept]\n" if self._dropped else text


@dataclass(frozen=True, slots=True)
class _Stop:
    """Reasons to end a program early."""

    argv: tuple[str, ...]
    started: float
    timeout: float | None
    cancel: Event | None

    def check(self) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise ToolCancelledError(f"{Path(self.argv[0]).name} was cancelled")
        if self.timeout is not None and time.monotonic() - self.started > self.timeout:
            name = Path(self.argv[0]).name
            raise ToolTimeoutError(f"{name} did not finish within {self.timeout:g} s and was ended")


def _spawn(
    argv: tuple[str, ...],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    feed: bool,
    pass_fds: Collection[int],
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    except FileNotFoundError as err:
        if cwd is not None and not cwd.is_dir():
            raise ToolError(f"cannot run {argv[0]}: the folder {cwd} does not exist") from err
        raise ToolError(f"cannot run {argv[0]}: no such program") from err
    except OSError as err:
        wrong = "it is not a program of this machine" if err.errno == errno.ENOEXEC else err.strerror
        raise ToolError(f"cannot run {argv[0]}: {wrong}") from err


def _limit_memory(pid: int, limit: int | None) -> None:
    """Set after the exec, not before it: code between fork and exec is not safe in a threaded process."""
    if limit is None:
        return
    with contextlib.suppress(ProcessLookupError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.prlimit(pid, resource.RLIMIT_DATA, (limit, limit))


def _pump(process: subprocess.Popen[bytes], feed: bytes, stdout: _Capture, stderr: _Capture, stop: _Stop) -> None:
    """Move bytes until the program has exited and its pipes are drained."""
    with selectors.DefaultSelector() as selector, _closing(process):
        for stream, capture in ((process.stdout, stdout), (process.stderr, stderr)):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ, capture)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        rest = memoryview(feed)
        while selector.get_map():
            # A grandchild may hold the pipes open after the program's end, so its exit ends the reading too.
            exited = _has_exited(process.pid)
            ready = selector.select(0 if exited else _TICK)
            for key, _ in ready:
                if key.fileobj is process.stdin:
                    rest = _write(selector, process.stdin, rest)
                else:
                    _read(selector, key)
            if exited and not ready:
                return
            stop.check()
    _wait_for_exit(process.pid, stop)


@contextlib.contextmanager
def _closing(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _read(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    piece = os.read(key.fd, _PIECE)
    if piece:
        key.data.add(piece)
    else:
        selector.unregister(key.fileobj)


def _write(selector: selectors.BaseSelector, pipe: IO[bytes], rest: memoryview) -> memoryview:
    with contextlib.suppress(BrokenPipeError):  # a program need not read its input
        rest = rest[os.write(pipe.fileno(), rest[:_PIECE]) :]
        if rest:
            return rest
    selector.unregister(pipe)
    pipe.close()
    return rest[:0]


def _has_exited(pid: int) -> bool:
    """True once the program has ended. It stays a zombie, so its group number cannot go to another."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _wait_for_exit(pid: int, stop: _Stop) -> None:
    pause = 0.0005
    while not _has_exited(pid):
        stop.check()
        time.sleep(pause)
        pause = min(pause * 2, _TICK)


def _end_group(pid: int) -> None:
    """End every process of the group whose leader is `pid`, politely first if the leader still runs."""
    with contextlib.suppress(ProcessLookupError):
        try:
            if not _has_exited(pid):
                os.killpg(pid, signal.SIGTERM)
            deadline = time.monotonic() + _GRACE
            while not _has_exited(pid) and time.monotonic() < deadline:
                time.sleep(0.005)
        finally:  # a second Ctrl-C cuts the grace short
            os.killpg(pid, signal.SIGKILL)


def _reap(process: subprocess.Popen[bytes]) -> resource.struct_rusage:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # or Popen would wait for it again
    return usage
