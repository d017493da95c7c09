"""Answers of a build that is only recorded: files with nothing in them, and the host compiler's command line."""

from __future__ import annotations

import os

from .rewrite import Call
from .words import INPUTS, options

TYPE_CHECKING = False  # type checkers take it for typing's own, which is slow to import
if TYPE_CHECKING:
    from typing import Any


def record(call: Call, config: dict[str, Any]) -> None:
    """Write what the caller waits for, with nothing in it."""
    stubs = config["stubs"]
    if call.kind == "archive":
        write(call.output or "a.a", b"!<arch>\n")
        return
    if call.kind == "link":
        copy(stubs["library"], call.output or "a.out")
        return
    stub = stubs["object"] if call.kind in ("compile", "device-link") else None
    suffix = ".o" if stub else f".{call.kind}"
    folder, depfile = ".", None
    for name, value, _ in options(call.before):
        if name in ("-odir", "--output-directory"):
            folder = value or "."
        elif name in ("-MF", "--dependency-output"):
            depfile = value
        elif name in ("-MD", "-MMD") or (name.startswith("--generate-") and name.endswith("-with-compile")):
            depfile = depfile or ""
    sources = [path for path in call.inputs if not path.endswith((".o", ".obj", ".a"))] or ["a_dlink.cu"]
    outputs = [call.output or os.path.join(folder, stem(path) + suffix) for path in sources]
    for output in outputs:
        if stub:
            copy(stub, output)
        else:
            write(output, b"")
    if depfile is not None:
        blank = " \\\n  "
        where = depfile or os.path.splitext(outputs[0])[0] + ".d"
        write(where, f"{outputs[0]}: {blank.join(sources)}\n".encode("utf-8", "surrogateescape"))


def stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def write(path: str, data: bytes, mode: int = 0o644) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        file.write(data)


def copy(source: str, target: str) -> None:
    with open(source, "rb") as file:
        write(target, file.read(), 0o755)


def host_call(words: list[str]) -> Call:
    """A call of the host compiler, which is recorded but not rewritten."""
    call = Call(words, {})
    kind, output, inputs, previous = "link", None, [], ""
    for word in words:
        if previous == "-o":
            output = word
        elif previous in ("-include", "-isystem", "-MF", "-MT", "-MQ", "-x", "-I", "-L", "-Xlinker", "-D", "-U"):
            pass
        elif not word.startswith("-"):
            inputs.append(word)
        if word in ("-c", "-S"):
            kind = "compile"
        elif word == "-E" or word in ("-M", "-MM"):
            kind = "preprocess"
        elif word.startswith(("-o", "-v", "--version", "-dump", "-print-", "-###")):
            output = word[2:] if word.startswith("-o") and word != "-o" else output
        previous = word
    if not inputs or not any(os.path.splitext(path)[1] in INPUTS for path in inputs):
        kind = "query"
    call.kind, call.output, call.inputs = kind, output, inputs
    return call
