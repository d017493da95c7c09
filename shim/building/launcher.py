"""Runs one program for a build: it may write to named folders only, and its output goes to a file of bounded size.

Started as a script of its own (`python -I -S launcher.py CONFIG`), so it imports nothing of shim. Limits are set with
Landlock (Linux 5.13 and later); where the kernel has none, the program runs without them and the exit is the same.
CONFIG is JSON: argv, writable (folders), port (the only TCP port to connect to, or null for all), log, head, tail.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
from collections import deque

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # system calls, the same on x86-64 and aarch64
_NO_NEW_PRIVS = 38
_PARENT_DEATH_SIGNAL = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_CONNECT = 2
# include/uapi/linux/landlock.h: what writes. Bits 1 and 4 to 12 are of ABI 1; 13 REFER of 2; 14 TRUNCATE of 3.
_WRITE_1 = 1 << 1 | sum(1 << bit for bit in range(4, 13))
_OF_FILE = 1 << 1 | 1 << 14


def confine(writable: list[str], port: int | None) -> int:
    """Give up writing elsewhere (and connecting elsewhere). Returns the kernel's Landlock ABI, 0 for none."""
    libc = ctypes.CDLL(None, use_errno=True)
    abi = int(libc.syscall(_CREATE, None, 0, 1))
    if abi < 1:
        return 0
    handled = _WRITE_1 | (1 << 13 if abi >= 2 else 0) | (1 << 14 if abi >= 3 else 0)
    network = _CONNECT if port is not None and abi >= 4 else 0
    attributes = struct.pack("<QQ", handled, network) if abi >= 4 else struct.pack("<Q", handled)
    ruleset = int(libc.syscall(_CREATE, attributes, len(attributes), 0))
    if ruleset < 0:
        return 0
    for path in [*writable, "/dev"]:
        try:
            folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        access = handled if os.path.isdir(path) else handled & _OF_FILE  # noqa: PTH112  (no pathlib: start-up time)
        libc.syscall(_ADD, ruleset, _PATH_BENEATH, struct.pack("<Qi", access, folder), 0)
        os.close(folder)
    if network and port is not None:
        libc.syscall(_ADD, ruleset, _NET_PORT, struct.pack("<QQ", _CONNECT, port), 0)
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    done = int(libc.syscall(_RESTRICT, ruleset, 0))
    os.close(ruleset)
    return abi if done == 0 else 0


def pump(argv: list[str], log: str, head: int, tail: int) -> int:
    """Run the program; keep the first `head` and the last `tail` bytes of what it prints. Returns its exit code."""
    _die_with_parent()
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert child.stdout is not None
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    written = dropped = kept = 0
    last: deque[bytes] = deque()
    with open(log, "ab", buffering=0) as out:  # noqa: PTH123
        while piece := os.read(child.stdout.fileno(), 1 << 16):
            room = max(head - written, 0)
            out.write(piece[:room])
            written += min(len(piece), room)
            if rest := piece[room:]:
                last.append(rest)
                kept += len(rest)
            while kept - len(last[0] if last else b"") > tail:
                dropped += len(last[0])
                kept -= len(last.popleft())
        if dropped:
            out.write(b"\n[shim: %d bytes left out]\n" % dropped)
        out.writelines(last)
    code = child.wait()
    return code if code >= 0 else 128 - code


def _die_with_parent() -> None:
    """If shim is killed, the whole group goes too, or it would write into a folder that the next run works in."""
    signal.signal(signal.SIGUSR1, lambda *_: os.killpg(0, signal.SIGKILL))
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGUSR1, 0, 0, 0)


def main() -> int:
    """Exit code of the program; 127 when it cannot be started."""
    config = json.loads(sys.argv[1])
    confine(config["writable"], config["port"])
    try:
        return pump(config["argv"], config["log"], config["head"], config["tail"])
    except OSError as error:
        print(f"cannot run {config['argv'][0]}: {error.strerror}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main())
