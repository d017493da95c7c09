"""Run by `nvjitlink` in a child process, with the standard library alone: call NVIDIA's nvJitLink.

    version LIBRARY
    link LIBRARY RESULT COUNT INPUT... OPTION...

Names and values: nvJitLink.h. Exit code 1 and its own words on stderr when it refuses.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from collections.abc import Callable
from pathlib import Path

INPUT_KINDS = {".cubin": 1, ".fatbin": 4}
RESULTS = {
    1: "unrecognized option",
    2: "missing architecture",
    3: "invalid input",
    4: "PTX compile error",
    5: "NVVM compile error",
    6: "internal error",
    7: "thread pool error",
    8: "unrecognized input",
    9: "finalize error",
}


class Library:
    """Its functions carry the version in their names."""

    def __init__(self, path: str) -> None:
        try:
            self._loaded = ctypes.CDLL(path)
            major, minor = ctypes.c_uint(), ctypes.c_uint()
            failed = self._loaded.nvJitLinkVersion(ctypes.byref(major), ctypes.byref(minor))
        except (OSError, AttributeError) as error:
            raise SystemExit(str(error)) from None
        if failed:
            raise SystemExit(f"nvJitLinkVersion ended with {failed}")
        self.version = (major.value, minor.value)

    def function(self, name: str) -> Callable[..., int]:
        found: Callable[..., int] = getattr(self._loaded, "__nvJitLink{}_{}_{}".format(name, *self.version))
        return found

    def log(self, handle: ctypes.c_void_p, kind: str) -> str:
        size = ctypes.c_size_t()
        if self.function(f"Get{kind}LogSize")(handle, ctypes.byref(size)):
            return ""
        text = ctypes.create_string_buffer(size.value + 1)
        self.function(f"Get{kind}Log")(handle, text)
        return text.value.decode(errors="replace").strip()


def link(library: Library, result: str, inputs: list[str], options: list[str]) -> None:
    words = (ctypes.c_char_p * len(options))(*(word.encode() for word in options))
    handle = ctypes.c_void_p()
    code = library.function("Create")(ctypes.byref(handle), ctypes.c_uint32(len(options)), words)
    if code:
        raise SystemExit(f"nvJitLink takes not these options ({RESULTS.get(code, code)}): {' '.join(options)}")

    def check(code: int, what: str) -> None:
        if code:
            raise SystemExit(f"{what}: {RESULTS.get(code, code)}: {library.log(handle, 'Error')}")

    for name in inputs:
        data = Path(name).read_bytes()
        kind = ctypes.c_int(INPUT_KINDS[Path(name).suffix])
        check(library.function("AddData")(handle, kind, data, ctypes.c_size_t(len(data)), name.encode()), name)
    check(library.function("Complete")(handle), "link")
    size = ctypes.c_size_t()
    check(library.function("GetLinkedCubinSize")(handle, ctypes.byref(size)), "result")
    cubin = ctypes.create_string_buffer(size.value)
    check(library.function("GetLinkedCubin")(handle, cubin), "result")
    Path(result).write_bytes(cubin.raw)
    print(library.log(handle, "Error"), file=sys.stderr)  # warnings


def main(command: str, path: str, *words: str) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    library = Library(path)
    if command == "version":
        print("nvJitLink {}.{}".format(*library.version))
        return
    count = int(words[1])
    link(library, words[0], list(words[2 : 2 + count]), list(words[2 + count :]))


if __name__ == "__main__":
    main(*sys.argv[1:])
