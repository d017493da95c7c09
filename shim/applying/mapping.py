"""Which relocatable containers went into which device link of a library: proven by names, or by loading it.

By names: a link keeps kernels and variables of a module, except (nvlink 13.0) what no host code refers to, and
functions that are called. So a module belongs to the one linked container of the same architecture that has any of its
kernels and variables; where several have, to the one that has all. One of which no link has any belongs to
the link that has functions which it alone can have given. Anything that fits twice proves nothing, and should a proof
be wrong all the same, the link lacks a function, or the check of its kernels and variables fails.

By loading: the start-up code of each link (NVIDIA's `crt/link.stub`, part of every toolkit) fills an array of
pointers to its relocatable containers, which the linked container's wrapper names at +16.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from shim.applying.images import ImageFile
from shim.devicecode import Container, CubinInfo, DeviceCode, GpuImage, ImageKind, read_cubin
from shim.errors import InputError, ToolError
from shim.planning.linked import LinkMap, linked_containers, relocatable_containers
from shim.process import run

_SECONDS = 120.0
_MEMORY = 8 << 30
_QUOTED = 400  # characters of the loader's words
_CHILD = Path(__file__).with_name("mapping_child.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What one module, or one link, defines. Of kernels and variables a link keeps those that host code refers to."""

    kernels: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()

    @property
    def kept(self) -> frozenset[str]:
        return self.kernels | self.variables


def map_links(code: DeviceCode, path: Path, *, load: bool) -> LinkMap:
    """Find out which relocatable containers belong to which linked one.

    Args:
        path: the library. load: it may be loaded in a child process, which runs its constructors.
    """
    try:
        proven = by_names(code, path)
    except InputError as error:
        proven = LinkMap(modules={}, why=f"names do not tell which relocatable code belongs to which ({error.message})")
    if proven.modules or not load:
        return proven
    loaded = by_loading(code, path)
    return loaded if loaded.modules else LinkMap(modules={}, why=f"{proven.why}; {loaded.why}")


def by_names(code: DeviceCode, path: Path) -> LinkMap:
    """The proof by names. Raises InputError when an image cannot be read."""
    links: dict[int, Names] = {}
    modules: dict[int, dict[int, Names]] = {}  # for each link: its modules' names, of its architecture
    with ImageFile(path, code.member) as file:
        for container in linked_containers(code):
            image = _yardstick(container)
            if image is None:
                return _unproven(f"linked container {container.index} has no machine code to compare names with")
            links[container.index] = _names(read_cubin(file.plain(image)))
            modules[container.index] = {
                module.index: _names(read_cubin(file.plain(same)))
                for module in relocatable_containers(code)
                if (same := _of_arch(module, image)) is not None
            }
    known = set.intersection(*(set(found) for found in modules.values())) if modules else set()
    if opaque := [m.index for m in relocatable_containers(code) if m.index not in known]:
        return _unproven(f"relocatable container {opaque[0]} has no machine code to read names from")
    return assign(links, modules)


def assign(links: Mapping[int, Names], modules: Mapping[int, Mapping[int, Names]]) -> LinkMap:
    """The rule, on names alone.

    Args:
        links: what each linked container defines. modules: by link, what each module defines on its architecture.
    """
    owned: dict[int, set[int]] = {link: set() for link in links}
    free: list[int] = []
    for module in sorted({index for found in modules.values() for index in found}):
        fitting = [link for link in links if modules[link][module].kept & links[link].kept]
        if not fitting:
            free.append(module)
            continue
        if len(fitting) > 1:
            fitting = [link for link in fitting if modules[link][module].kept <= links[link].kept]
        if len(fitting) != 1:
            told = f"do not tell which of {len(links)} links it is in"
            return _unproven(f"kernels and variables of relocatable container {module} {told}")
        owned[fitting[0]].add(module)
    for link, names in links.items():
        members = [modules[link][index] for index in owned[link]]
        for name in sorted(names.functions.difference(*(member.functions for member in members))):
            givers = [index for index in free if name in modules[link][index].functions]
            if len(givers) > 1:
                return _unproven(f"function {name} can come from relocatable containers {givers[0]} and {givers[1]}")
            owned[link].update(givers)
        if lacking := names.kernels.difference(*(member.kernels for member in members)):
            return _unproven(f"no relocatable container gives kernel {min(lacking)} of linked container {link}")
    return LinkMap(
        modules={link: tuple(sorted(owned[link])) for link in links if owned[link]},
        why="names prove which relocatable code belongs to which",
    )


def by_loading(code: DeviceCode, path: Path) -> LinkMap:
    """The proof by loading the library in a child process with limits, where the machine fits."""
    if code.machine != platform.machine() or code.elf_type != "dyn":
        return _unproven(f"it cannot be loaded here, being for {code.machine or 'another machine'}")
    by_index = {wrapper.container: wrapper.offset for wrapper in code.wrappers}
    wanted = {container.index: by_index.get(container.index) for container in linked_containers(code)}
    offsets = [str(offset) for offset in wanted.values() if offset is not None]
    if len(offsets) != len(wanted):
        return _unproven("a linked container has no wrapper")
    most = len(relocatable_containers(code))
    try:
        done = run(
            [sys.executable, "-I", _CHILD, path.absolute(), str(most), json.dumps(sys.path), *offsets],
            timeout=_SECONDS,
            max_rss=_MEMORY,
        )
    except ToolError as error:
        return _unproven(f"loading it failed: {error.message}")
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"ended with {done.ending}"]
        return _unproven(f"loading it failed: {said[-1].replace(str(path.absolute()), path.name)[:_QUOTED]}")
    return _as_told(code, tuple(wanted), done.stdout)


def _as_told(code: DeviceCode, links: Iterable[int], text: str) -> LinkMap:
    """What the child said, believed only where it names relocatable containers, each of them once."""
    by_offset = {container.offset: container.index for container in relocatable_containers(code)}
    try:
        told = json.loads(text.splitlines()[-1])
        found = [tuple(by_offset[offset] for offset in modules) for modules in told]
        modules = dict(zip(links, found, strict=True))
    except (IndexError, KeyError, TypeError, ValueError):
        return _unproven("loading it failed: its start-up code left no list of relocatable containers")
    everything = [index for members in found for index in members]
    if len(everything) != len(set(everything)) or set(everything) != set(by_offset.values()):
        return _unproven("loading it showed relocatable containers in several links, or in none")
    return LinkMap(
        modules={link: members for link, members in modules.items() if members},
        why="its start-up code, run in a child process, told which relocatable code belongs to which",
    )


def _unproven(why: str) -> LinkMap:
    return LinkMap(modules={}, why=why)


def _names(cubin: CubinInfo) -> Names:
    return Names(
        kernels=frozenset(kernel.name for kernel in cubin.kernels),
        variables=frozenset(name for name, _ in cubin.objects if not name.startswith(".nv.")),
        functions=frozenset(cubin.functions),
    )


def _yardstick(container: Container) -> GpuImage | None:
    """Machine code whose names are read: any, since every link is compared with its own."""
    return next((image for image in container.images if image.kind is ImageKind.SASS), None)


def _of_arch(module: Container, image: GpuImage) -> GpuImage | None:
    return next((i for i in module.images if i.kind is ImageKind.SASS and i.arch == image.arch), None)
