"""Plan each library of a wheel as soon as it has been read, beside the reading of the others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

from shim.applying.mapping import map_links
from shim.applying.members import MemberContent
from shim.applying.selection import compile_pattern
from shim.applying.workfile import WorkFile, narrow, plan_file
from shim.devicecode import DeviceCode
from shim.planning import Slim, plan_library
from shim.planning.linked import LinkMap
from shim.provenance.document import Request
from shim.scan.reading import grouped
from shim.verifying.load import unpack_libraries
from shim.wheels.archive import WheelArchive
from shim.wheels.member import Member

_WORTH_COPYING = 16 << 20  # bytes of a member; below, inflating it a second time costs nothing

_LOOSE = frozenset({"cubin", "ptx", "ltoir"})


class Planner:
    """Takes libraries in any order and from several threads; those with steps are extracted into `folder`.

    Args:
        nvidia: why the whole wheel is NVIDIA's (`licence.distribution_sign`), "" when it is not. Unless allowed, all
            of it is refused then.
        keep: extract libraries with steps; a dry run does not need them.
        load: libraries may be loaded to find out what their start-up code does.
    """

    def __init__(
        self,
        archive: WheelArchive,
        request: Request,
        folder: Path,
        *,
        nvidia: str,
        allow_nvidia: bool,
        keep: bool,
        load: bool = False,
    ) -> None:
        self._archive = archive
        self._request = request
        self._folder = folder
        self._nvidia = nvidia
        self._allow_nvidia = allow_nvidia
        self._keep = keep
        self._load = load
        self._unpacking = threading.Lock()
        self._pattern = compile_pattern(request.only) if request.only else None
        self._number = {member.path: number for number, member in enumerate(archive.members)}
        self._found: dict[str, WorkFile] = {}
        self._loose: dict[str, DeviceCode] = {}

    @property
    def files(self) -> list[WorkFile]:
        """Libraries with anything to say, in the order of the archive; then sets of loose GPU code files."""
        ordered = [self._found[path] for path in sorted(self._found, key=self._number.__getitem__)]
        return ordered + self._sets()

    def _sets(self) -> list[WorkFile]:
        """Files of the kind that a package picks from by name, judged together as `scan` does. They have no steps."""
        loose = {path: self._loose[path] for path in sorted(self._loose, key=self._number.__getitem__)}
        plans = [(code, plan_library(code, self._request.wanted)) for code, _ in grouped(loose)]
        return [WorkFile(code=code, path=self._folder, plan=plan) for code, plan in plans if plan.refusals]

    def add(self, content: MemberContent) -> None:
        """Plan one library. Raises InputError when it cannot be read again or the disk is full."""
        code = content.code
        if code is None:
            return
        if code.format in _LOOSE:
            self._loose[code.member] = code
            return
        wanted = self._request.wanted
        path = self._path(code.member)
        extract = self._extractor(code, path)
        links = self._links(code, extract)
        plan = plan_file(code, wanted, allow_nvidia=self._allow_nvidia, around=self._nvidia, links=links)
        if self._pattern is not None:
            plan = narrow(code, plan, extract, wanted, self._pattern, links)
        if plan.steps and self._keep:
            extract()
        if plan.steps or plan.refusals or plan.notes:
            self._found[code.member] = WorkFile(code=code, path=path, plan=plan)
        else:
            path.unlink(missing_ok=True)

    def copy(self, member: Member) -> Path | None:
        """Where a library is written to while it is read, when nearly every library will be changed anyway."""
        wanted = self._request.wanted
        likely = wanted.slim is not Slim.OFF or wanted.repack_old
        large = member.size >= _WORTH_COPYING
        return self._path(member.path) if likely and large and self._keep and not self._nvidia else None

    def _path(self, member: str) -> Path:
        return self._folder / f"old-{self._number[member]}-{Path(member).name}"

    def _extractor(self, code: DeviceCode, path: Path) -> Callable[[], Path]:
        def extract() -> Path:
            if not path.exists():
                with path.open("wb") as out:  # hashed already, while it was read
                    out.writelines(self._archive.stream(self._archive.member(code.member)))
            return path

        return extract

    def _links(self, code: DeviceCode, extract: Callable[[], Path]) -> Callable[[], LinkMap]:
        @cache
        def links() -> LinkMap:
            found = map_links(code, extract(), load=False)
            return found if found.modules or not self._load else map_links(code, self._among_others(code), load=True)

        return links

    def _among_others(self, code: DeviceCode) -> Path:
        """The library with all others of the wheel about it, as installed: it may need them to load."""
        tree = self._folder / "tree-links"
        with self._unpacking:
            if not tree.exists():
                unpack_libraries(self._archive, tree)
        return tree / code.member
