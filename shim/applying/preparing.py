"""From the steps of a plan to the units that ptxas compiles."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from shim.applying.budget import rank_of
from shim.applying.images import ImageFile
from shim.applying.linking import LINKS
from shim.applying.retarget import retargeted
from shim.applying.selection import kernel_names
from shim.applying.texts import StoredText
from shim.applying.units import CompileUnit
from shim.applying.workfile import WorkFile
from shim.devicecode import ImageKind
from shim.errors import ToolError
from shim.planning import Act, ContainerPlan, Make
from shim.planning.model import Source
from shim.planning.retarget import first_isa
from shim.toolchain import Survey, Tool, choose_ptxas, survey


class PtxasChoice:
    """Chooses a ptxas for each ISA version once."""

    def __init__(self, *, explicit: Path | None, offline: bool, driver_major: int) -> None:
        self._explicit = explicit
        self._offline = offline
        self._driver_major = driver_major
        self._found: Survey | None = None
        self._chosen: dict[tuple[tuple[int, int], str], Tool | ToolError] = {}

    def take(self, isa: tuple[int, int], arch: str) -> Tool:
        """The tool for PTX of this version. Raises ToolError."""
        if (isa, arch) not in self._chosen:
            self._found = self._found or survey("ptxas")
            try:
                self._chosen[isa, arch] = choose_ptxas(
                    isa,
                    arch,
                    explicit=self._explicit,
                    offline=self._offline,
                    driver_major=self._driver_major,
                    found=self._found,
                )
            except ToolError as error:
                self._chosen[isa, arch] = error
        chosen = self._chosen[isa, arch]
        if isinstance(chosen, ToolError):
            raise chosen
        return chosen


def unit_key(file: WorkFile, offset: int, arch: str) -> str:
    """Name of the unit made from the PTX at `offset` of a file."""
    return f"{file.member}@{offset:#x} {arch}"


def units_of(
    file: WorkFile, step: ContainerPlan, make: Make, source: ImageFile, ptxas: PtxasChoice, *, ranked: bool
) -> list[CompileUnit]:
    """What one new image is made from.

    Args:
        ranked: find out where the units stand in the order; needs the names of their kernels.

    Raises:
        ToolError: no ptxas takes the PTX. InputError: a text cannot be retargeted.
    """
    texts = [s for s in make.sources if s.image.kind is ImageKind.PTX]
    rank: tuple[float, ...] = ()
    if ranked:
        names = [name for s in texts for name in kernel_names(source, file.code, s.container)]
        rank = rank_of(names, sum(s.image.size for s in texts))
    return [
        CompileUnit(
            key=unit_key(file, s.image.offset, make.arch),
            ptx=StoredText(path=file.path, member=file.member, image=s.image, edit=_edit(make, s, source)),
            options=s.image.options,
            target=make.arch,
            tool=ptxas.take(_isa(make, s), make.arch),
            label=f"{file.member} container {s.container}",
            relocatable=make.act in LINKS,
            rank=rank,
            group=f"{file.member} container {step.container} {make.arch}",
        )
        for s in texts
    ]


def _isa(make: Make, source: Source) -> tuple[int, int]:
    """ISA version of the text that is compiled."""
    return max(source.image.version, first_isa(make.arch)) if make.act is Act.RETARGET else source.image.version


def _edit(make: Make, source: Source, file: ImageFile) -> Callable[[bytes], bytes] | None:
    """What is done to a text before it is compiled. Tried now: raises InputError when that cannot be done."""
    if make.act is not Act.RETARGET:
        return None
    edit = partial(retargeted, old=f"sm_{source.image.arch}", new=make.arch, least=_isa(make, source))
    edit(file.plain(source.image))
    return edit
