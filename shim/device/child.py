"""Runs one driver probe in a process of its own: `python -I -S child.py PATH-OF-_core REQUEST`.

It imports nothing of shim but the compiled module, so that it starts in some 20 ms. REQUEST and the answer are JSON.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import sys


def main() -> None:
    loader = importlib.machinery.ExtensionFileLoader("_core", sys.argv[1])
    spec = importlib.util.spec_from_file_location("_core", sys.argv[1], loader=loader)
    assert spec is not None
    core = importlib.util.module_from_spec(spec)
    loader.exec_module(core)
    request = json.loads(sys.argv[2])
    if request["probe"] == "cuda":
        answer = core.probe_cuda(request["candidates"], request["attributes"])
    else:
        answer = core.probe_nvml(request["candidates"])
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
