"""Does a new cubin define what host code will look up in it? Judged against the PTX it came from and its siblings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shim.devicecode import CubinInfo, Kernel

# ptxas makes one such symbol per module for its own use; which one depends on the architecture.
_TOOL_OBJECTS = (".nv.reservedSmem",)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCheck:
    """Outcome for one new cubin.

    Attributes:
        kernels, objects: how many were compared.
        faults: reasons not to use the cubin.
        notes: kernels that siblings have and the PTX lacks: a launch of them fails with the driver's JIT as well.
    """

    kernels: int
    objects: int
    faults: tuple[str, ...]
    notes: tuple[str, ...]


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - 3} more" if len(ordered) > 3 else ""
    return ", ".join(ordered[:3]) + more


def _sizes(kernel: Kernel) -> dict[int, int]:
    return dict(kernel.parameters)


def _parameter_faults(new: Mapping[str, Kernel], old: Mapping[str, Kernel], label: str) -> list[str]:
    """(ordinal, size) of each parameter; PTX parameters of opaque type have size 0 and are not compared.

    Offsets are left out: over-aligned parameters stand elsewhere on each architecture (docs/patching.md).
    """
    faults = []
    for name in new.keys() & old.keys():
        have, want = _sizes(new[name]), _sizes(old[name])
        if len(have) != len(want):
            faults.append(f"{name} takes {len(have)} parameters, in the {label} {len(want)}")
            continue
        differing = [o for o in want if want[o] and have.get(o) != want[o]]
        if differing:
            faults.append(f"{name}: parameter {differing[0]} has another size than in the {label}")
    return faults


def check_cubin(new: CubinInfo, texts: Iterable[Iterable[Kernel]], sibling: CubinInfo | None) -> KernelCheck:
    """Compare a new cubin with the PTX modules it was made of and an older cubin of the same container.

    Args:
        texts: entry functions of each PTX module that went in.
        sibling: machine code of another architecture beside it, None when there is none.
    """
    have = {kernel.name: kernel for kernel in new.kernels}
    want = {kernel.name: kernel for text in texts for kernel in text}
    faults = []
    notes = []
    if missing := want.keys() - have.keys():
        faults.append(f"kernels of the PTX are missing: {_some(missing)}")
    if want and (extra := have.keys() - want.keys()):
        faults.append(f"kernels that the PTX does not have: {_some(extra)}")
    faults += _parameter_faults(have, want, "PTX")
    objects = {name: size for name, size in new.objects if not name.startswith(_TOOL_OBJECTS)}
    if sibling is not None:
        old = {kernel.name: kernel for kernel in sibling.kernels}
        if lost := old.keys() - have.keys():
            notes.append(f"the PTX lacks kernels that sm_{sibling.sm}{sibling.feature} has: {_some(lost)}")
        faults += _parameter_faults(have, old, f"sm_{sibling.sm} code")
        before = {name: size for name, size in sibling.objects if not name.startswith(_TOOL_OBJECTS)}
        if not notes and (gone := before.keys() - objects.keys()):
            faults.append(f"device variables are missing: {_some(gone)}")
        if resized := [n for n in before.keys() & objects.keys() if before[n] != objects[n]]:
            faults.append(f"device variables changed size: {_some(resized)}")
    return KernelCheck(kernels=len(have), objects=len(objects), faults=tuple(faults), notes=tuple(notes))


def check_same(new: CubinInfo, old: CubinInfo) -> KernelCheck:
    """Compare restamped machine code with what it was: the same kernels, sizes, parameters and variables."""
    faults = []
    if new.kernels != old.kernels:
        faults.append("its kernels are not those of the machine code it was made of")
    if new.objects != old.objects:
        faults.append("its variables are not those of the machine code it was made of")
    return KernelCheck(kernels=len(new.kernels), objects=len(new.objects), faults=tuple(faults), notes=())
