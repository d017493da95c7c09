"""Facts of a Python file that builds CUDA code: setup.py, helpers beside it, and modules that compile at run time."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from typing import Final

from shim.source.buildfiles.archs import GENCODE, NVCC_ARCH, Named, read_gencode, read_list
from shim.source.buildfiles.conditions import env_read, words
from shim.source.buildfiles.gpu_checks import gpu_checks
from shim.source.buildfiles.model import (
    ArchMention,
    BuildSystem,
    Download,
    FileFacts,
    ListedSource,
    MentionKind,
    StandardFlag,
    Variable,
)
from shim.source.buildfiles.python_quirks import quirks
from shim.source.buildfiles.python_walk import Place, mention, places
from shim.source.buildfiles.spans import Text, is_utf8
from shim.source.buildfiles.variables import names_archs, role_of

_LARGEST: Final = 1 << 20  # bytes; build scripts are far smaller
_SIGNS: Final = (b"gencode", b"cpp_extension", b"CUDA_ARCH", b"-arch=", b"gpu-architecture")
_MORE_SIGNS: Final = (*_SIGNS, b"CUDAExtension", b"FORCE_CUDA", b"nvcc", b"ompute_cap", b"OMPUTE_CAP", b"torch.cuda")
_BUILDS: Final = re.compile(rb"(?:^|setuptools\.)setup\(|CUDAExtension|BuildExtension|build_ext", re.MULTILINE)
_MAY_BUILD: Final = (b"setup(", b"CUDAExtension", b"BuildExtension", b"build_ext")
_TORCH: Final = re.compile(rb"cpp_extension|CUDAExtension")
_CMAKE_ARCHS: Final = re.compile(rb"-DCMAKE_CUDA_ARCHITECTURES(?::\w+)?=(?P<value>[0-9][0-9af;, a-z-]*)")
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
    archs = tuple(_archs(found, text, path)) if signs else ()
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


def _strings(found: list[Place]) -> Iterator[Place]:
    """String literals, f-strings as a whole."""
    for place in found:
        node = place.node
        text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if (text or isinstance(node, ast.JoinedStr)) and not isinstance(
            place.parent, ast.JoinedStr | ast.FormattedValue
        ):
            yield place


def _archs(found: list[Place], text: Text, path: str) -> Iterator[ArchMention]:
    nvcc = (MentionKind.GENCODE, GENCODE), (MentionKind.NVCC_ARCH, NVCC_ARCH), (MentionKind.CMAKE, _CMAKE_ARCHS)
    for place in _strings(found):
        start, end = text.span(_expr(place.node))
        for kind, pattern in nvcc:
            for match in pattern.finditer(text.source, start, end):
                yield _in_string(kind, match, place, text, path)
    for position, place in enumerate(found):
        node = place.node
        if isinstance(node, ast.Constant) and node.value in ("-arch", "--gpu-architecture"):
            yield from _next_string(found, position, text, path)
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            yield from _assigned(place, node, text, path)
        elif isinstance(node, ast.Call):
            yield from _defaults(place, node, text, path)
        elif isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            yield from _last_resort(place, node, text, path)


def _in_string(kind: MentionKind, match: re.Match[bytes], place: Place, text: Text, path: str) -> ArchMention:
    if kind is MentionKind.GENCODE:
        start, end = match.span()
        named: Named | None = read_gencode(match["code"].decode())
        computed = named is None or b"{" in match[0] or b"%" in match[0] or b"$" in match[0]
    else:
        start, end = match.span("value")
        value = match["value"].decode().rstrip(" ;,-")
        end = start + len(value)
        named = read_list(value, bare_is_both=kind is MentionKind.CMAKE or value.startswith("sm_"))
        computed = named is None
    return _arch(kind, named, place, text, path, start, end, computed=computed)


def _next_string(found: list[Place], position: int, text: Text, path: str) -> Iterator[ArchMention]:
    """`"-arch", "sm_60"`: the string behind it in the same list."""
    parent = found[position].parent
    if isinstance(parent, ast.List | ast.Tuple):
        items = parent.elts
        index = next(i for i, item in enumerate(items) if item is found[position].node)
        following = items[index + 1] if index + 1 < len(items) else None
        if isinstance(following, ast.Constant) and (span := text.literal(following)):
            named = read_list(str(following.value), bare_is_both=True)
            if named is not None:
                yield _arch(MentionKind.NVCC_ARCH, named, found[position], text, path, *span)


def _assigned(
    place: Place, node: ast.Assign | ast.AugAssign | ast.AnnAssign, text: Text, path: str
) -> Iterator[ArchMention]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets:
        variable, kind = _target(target)
        if node.value is None or not variable:
            continue
        values = _list_items(node.value)
        if kind is MentionKind.LIST and len(values) > 1 and not all(_is_arch(item) for item in values):
            continue
        for item in values:
            span = text.literal(item)
            named = read_list(str(item.value))
            if span and (named is not None or (kind is MentionKind.ENV and item.value == "")):
                yield _arch(kind, named, place, text, path, *span, variable=variable)


def _target(target: ast.expr) -> tuple[str, MentionKind]:
    match target:
        case ast.Subscript(value=value, slice=ast.Constant(value=str(name))) if ast.unparse(value).endswith("environ"):
            return (name if role_of(name) == "archs" else ""), MentionKind.ENV
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return (name if names_archs(name) else ""), MentionKind.LIST
    return "", MentionKind.LIST


def _list_items(value: ast.expr) -> list[ast.Constant]:
    """Strings of a list, tuple or set, or the one string; [] for anything else."""
    match value:
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return [item for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]
        case ast.Constant(value=str()):
            return [value]
        case ast.Call(func=ast.Name(id="set" | "list" | "tuple" | "frozenset"), args=[inner]):
            return _list_items(inner)
        case ast.Call(func=ast.Attribute(value=inner, attr="split")):
            return _list_items(inner)
    return []


def _is_arch(item: ast.Constant) -> bool:
    return read_list(str(item.value)) is not None


def _defaults(place: Place, node: ast.Call, text: Text, path: str) -> Iterator[ArchMention]:
    """`os.getenv("X_CUDA_ARCHS", "80;90")` and `os.environ.setdefault(...)`."""
    read = env_read(node)
    if read is None or role_of(read[0]) != "archs" or len(node.args) < 2:
        return
    default = node.args[1]
    if isinstance(default, ast.Constant) and isinstance(default.value, str) and (span := text.literal(default)):
        named = read_list(default.value)
        if named is not None:
            yield _arch(MentionKind.ENV, named, place, text, path, *span, variable=read[0], overridable=True)


def _last_resort(place: Place, node: ast.BoolOp, text: Text, path: str) -> Iterator[ArchMention]:
    """`os.environ.get("X_CUDA_ARCHS") or "80"`."""
    reads = [read[0] for value in node.values if (read := env_read(value)) and role_of(read[0]) == "archs"]
    last = node.values[-1]
    if reads and isinstance(last, ast.Constant) and isinstance(last.value, str) and (span := text.literal(last)):
        named = read_list(last.value)
        if named is not None:
            yield _arch(MentionKind.ENV, named, place, text, path, *span, variable=reads[0], overridable=True)


def _arch(
    kind: MentionKind,
    named: Named | None,
    place: Place,
    text: Text,
    path: str,
    start: int,
    end: int,
    *,
    variable: str = "",
    overridable: bool = False,
    computed: bool = False,
) -> ArchMention:
    # An assignment under "not set" is a default that a user can replace.
    guarded = kind is MentionKind.ENV and variable in words(place.conditions)
    return ArchMention(
        **mention(place, text, path, start, end),
        kind=kind,
        archs=named.archs if named else (),
        sass=named.sass if named else (),
        virtual=named.virtual if named else (),
        variable=variable,
        overridable=overridable or guarded,
        computed=computed,
    )


def _standards(found: list[Place], text: Text, path: str) -> Iterator[StandardFlag]:
    for place in _strings(found):
        for match in _STANDARD.finditer(text.source, *text.span(_expr(place.node))):
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
        start, end = text.span(_expr(place.node))
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


def _expr(node: ast.AST) -> ast.expr:
    assert isinstance(node, ast.expr)
    return node
