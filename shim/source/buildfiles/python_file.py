"""Facts of a Python file that builds CUDA code: setup.py, helpers beside it, and modules that compile at run time."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from typing import Final

from shim.source.buildfiles.conditions import env_read
from shim.source.buildfiles.gpu_checks import gpu_checks
from shim.source.buildfiles.model import (
    BuildSystem,
    Download,
    FileFacts,
    ListedSource,
    StandardFlag,
    Variable,
)
from shim.source.buildfiles.python_archs import arch_mentions
from shim.source.buildfiles.python_quirks import quirks
from shim.source.buildfiles.python_walk import Place, expression, mention, places, strings
from shim.source.buildfiles.spans import Text, is_utf8
from shim.source.buildfiles.variables import role_of

_LARGEST: Final = 1 << 20  # bytes; build scripts are far smaller
_SIGNS: Final = (b"gencode", b"cpp_extension", b"CUDA_ARCH", b"-arch=", b"gpu-architecture")
_MORE_SIGNS: Final = (*_SIGNS, b"CUDAExtension", b"FORCE_CUDA", b"nvcc", b"ompute_cap", b"OMPUTE_CAP", b"torch.cuda")
_BUILDS: Final = re.compile(rb"(?:^|setuptools\.)setup\(|CUDAExtension|BuildExtension|build_ext", re.MULTILINE)
_MAY_BUILD: Final = (b"setup(", b"CUDAExtension", b"BuildExtension", b"build_ext")
_TORCH: Final = re.compile(rb"cpp_extension|CUDAExtension")
_STANDARD: Final = re.compile(rb"(?<![\w-])(?:--?std=(?:c|gnu)\+\+|/std:c\+\+)(?P<number>\d\d)(?!\w)")
_SOURCE: Final = re.compile(r"[\w./+-]+\.(?:cu|cpp|cc|cxx|c)")
_EXTENSION: Final = re.compile(r"(?:CUDA|Cpp|SYCL)?Extension$|^load$")


def python_facts(source: bytes, path: str) -> FileFacts:
    """Facts of one file; none when it does not look like a build of CUDA code, or is not Python in UTF-8."""
    name = path.rpartition("/")[2]
    may_build = any(sign in source for sign in _MAY_BUILD)  # many times as fast as the pattern
    builds = name == "setup.py" or (may_build and _BUILDS.search(source) is not None)
    signs = any(sign in source for sign in (_MORE_SIGNS if builds else _SIGNS))
    if len(source) > _LARGEST or not (signs or name == "setup.py") or not is_utf8(source):
        return FileFacts()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in other people's strings
            tree = ast.parse(source)
        found = list(places(tree))
        return _facts(found, Text(source), path, builds=builds, signs=signs)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return FileFacts()


def _facts(found: list[Place], text: Text, path: str, *, builds: bool, signs: bool) -> FileFacts:
    source = text.source
    archs = tuple(arch_mentions(found, text, path)) if signs else ()
    return FileFacts(
        archs=archs,
        standards=tuple(_standards(found, text, path)) if signs else (),
        variables=tuple(_variables(found, text, path)) if builds or signs else (),
        gpu_checks=tuple(gpu_checks(found, text, path)) if builds else (),
        downloads=tuple(_downloads(found, text, path)) if builds else (),
        sources=tuple(_sources(found, text, path)) if builds else (),
        quirks=tuple(quirks(found, text, path)) if signs and builds else (),
        torch=_TORCH.search(source) is not None,
        builds=builds,
        system=_system(path, source),
    )


def _system(path: str, source: bytes) -> BuildSystem | None:
    if path.rpartition("/")[2] != "setup.py":
        return None
    if b"skbuild" in source:
        return BuildSystem.SCIKIT_BUILD
    return BuildSystem.CMAKE if re.search(rb"[\"']cmake[\"']", source) else BuildSystem.SETUPTOOLS


def _standards(found: list[Place], text: Text, path: str) -> Iterator[StandardFlag]:
    for place in strings(found):
        for match in _STANDARD.finditer(text.source, *text.span(expression(place.node))):
            windows = match[0].startswith(b"/")
            fields = mention(place, text, path, *match.span())
            if windows:
                fields["reached"] = False
            yield StandardFlag(**fields, standard=int(match["number"]), compiler=_compiler(place))


def _compiler(place: Place) -> str:
    """Which compiler a flag is for, by the key of the dictionary around it."""
    chain = (*place.parents, place.node)
    for around, inside in zip(reversed(chain[:-1]), reversed(chain[1:]), strict=True):
        if isinstance(around, ast.Dict):
            for key, value in zip(around.keys, around.values, strict=True):
                if value is inside and isinstance(key, ast.Constant) and key.value in ("cxx", "nvcc"):
                    return str(key.value)
    return ""


def _variables(found: list[Place], text: Text, path: str) -> Iterator[Variable]:
    seen: set[str] = set()
    for place in found:
        read = env_read(place.node)
        if read is None and isinstance(place.node, ast.Compare) and ast.unparse(place.node).endswith("os.environ"):
            left = place.node.left
            read = (left.value, None) if isinstance(left, ast.Constant) and isinstance(left.value, str) else None
        if read is None or read[0] in seen:
            continue
        seen.add(read[0])
        start, end = text.span(expression(place.node))
        yield Variable(**mention(place, text, path, start, end), name=read[0], default=read[1], role=role_of(read[0]))


def _downloads(found: list[Place], text: Text, path: str) -> Iterator[Download]:
    source = text.source
    if b".whl" not in source and b"wheel" not in source:
        return
    forced = tuple(
        dict.fromkeys(
            read[0] for place in found if (read := env_read(place.node)) and role_of(read[0]) == "force-build"
        )
    )
    for place in found:
        if isinstance(place.node, ast.Call) and ast.unparse(place.node.func).endswith(
            ("urlretrieve", "urlopen", "requests.get", "wget.download")
        ):
            start, end = text.span(place.node)
            yield Download(**mention(place, text, path, start, end), what="wheel", prevented_by=forced)


def _sources(found: list[Place], text: Text, path: str) -> Iterator[ListedSource]:
    """Source files named in calls of Extension classes, or in lists called `sources`."""
    for place in found:
        node = place.node
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str) and _SOURCE.fullmatch(node.value)):
            continue
        holder = next(
            (parent for parent in reversed(place.parents) if not isinstance(parent, ast.List | ast.keyword)), None
        )
        direct = isinstance(place.parent, ast.List)
        if direct and _lists_sources(holder) and (span := text.literal(node)):
            yield ListedSource(**mention(place, text, path, *span))


def _lists_sources(holder: ast.AST | None) -> bool:
    match holder:
        case ast.Call(func=function):
            return _EXTENSION.search(ast.unparse(function).rpartition(".")[2]) is not None
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AugAssign(target=ast.Name(id=name)):
            return name in ("sources", "ext_sources", "cuda_sources", "source_cuda")
    return False
