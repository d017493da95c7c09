"""Runs one program and writes what it used, as JSON, to an open descriptor.

    python -I -S launcher.py DESCRIPTOR PROGRAM ARGUMENT...

Kept tiny on purpose: Linux carries the peak memory of the process that starts a program over into that program's
figure, so the figure is true only for a starter that is small.
"""

import json
import os
import sys
import time


def main() -> None:
    out = int(sys.argv[1])
    started = time.perf_counter()
    child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ, file_actions=[(os.POSIX_SPAWN_CLOSE, out)])
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - started
    report = {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "max_rss": usage.ru_maxrss * 1024,
        "returncode": os.waitstatus_to_exitcode(status),
    }
    os.write(out, json.dumps(report).encode())


if __name__ == "__main__":
    main()
