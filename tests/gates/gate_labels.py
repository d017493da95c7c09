"""Measures a gate detector on the labelled sites of labels.toml. Used by the tests and by bench/gates.py."""

from __future__ import annotations

import hashlib
import re
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from shim.arch import ComputeCapability
from shim.scan.fetch import fetch
from shim.scan.index import fetch_sdist
from shim.source.gates.python import find_python_gates

TARGET = ComputeCapability(12, 1)
_LABELS = Path(__file__).with_name("labels.toml")

# A baseline that sees one line: a word for the capability, and an upper bound below 12.1 or exactly 12.0. "< 10.0"
# is not taken for an upper bound: on one line nothing tells it from a minimum, and it nearly always is one.
_WORD = re.compile(
    r"capabilit|compute_cap|\bcc\b|\bsm\b|sm_version|\barch\b|_arch\b|\bmajor\b|device_cc", re.IGNORECASE
)
_UPPER = re.compile(
    r"<=\s*(\((8|9|1[0-2]),\s*\d\)|(9|1[0-2])\d\b|1[0-2]\b|9\b)"
    r"|<\s*(\(1[12],\s*\d\)|1[12]\d\b|1[12]\b)|MAX\w*\s*=\s*\((8|9|1[0-2]),"
)
_EXACT = re.compile(r"\(12,\s*0\)|['\"]12\.0['\"]|sm_?120|(==|!=|\bin\b|[\[(,])\s*['\"]?120\b|12 and minor")

Detector = Callable[[bytes, str], frozenset[int]]
"""Lines (from 1) of a file that would change behaviour on the target."""


@dataclass(frozen=True)
class Site:
    path: str
    line: int
    text: str
    label: str
    sign: str
    why: str

    @property
    def changes(self) -> bool:
        return self.label == "changes"


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    file: str
    sha256: str
    size: int
    group: str
    sites: tuple[Site, ...]

    @property
    def machine(self) -> str | None:
        return next((machine for machine in ("aarch64", "x86_64") if machine in self.file), None)


@dataclass(frozen=True)
class Score:
    """Counts over labelled sites; `wrong` names the sites."""

    found: int
    false: int
    missed: int
    wrong: tuple[str, ...]

    @property
    def precision(self) -> float:
        return self.found / (self.found + self.false)

    @property
    def recall(self) -> float:
        return self.found / (self.found + self.missed)

    def __str__(self) -> str:
        return f"precision {self.precision:.3f}, recall {self.recall:.3f}"


def packages() -> tuple[Package, ...]:
    document = tomllib.loads(_LABELS.read_text(encoding="utf-8"))
    found = []
    for row in document["package"]:
        sites = tuple(Site(**{"sign": "", **site}) for site in row.pop("site"))
        found.append(Package(**row, sites=sites))
    return tuple(found)


def sources(package: Package, cache: Path) -> Mapping[str, bytes]:
    """The labelled files of a package, from the registry, checked against its hash."""
    requirement = Requirement(f"{package.name}=={package.version}")
    path = cache / package.file
    if package.file.endswith(".tar.gz") and not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        path = fetch_sdist(requirement, python="3.12", folder=cache)
    elif package.file.endswith(".whl"):
        path = fetch(requirement, machine=package.machine, python="3.12", root=cache).path
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != package.sha256:
        raise AssertionError(f"{path.name}: the registry holds another file (expected {package.file})")
    wanted = {site.path for site in package.sites}
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in wanted}
    with tarfile.open(path) as archive:
        root = archive.next().name.split("/")[0]
        return {name: archive.extractfile(f"{root}/{name}").read() for name in wanted}


def check_texts(package: Package, files: Mapping[str, bytes]) -> list[str]:
    """Sites whose line is not the labelled one."""
    wrong = []
    for site in package.sites:
        lines = files[site.path].decode("utf-8", "replace").split("\n")
        if lines[site.line - 1].strip() != site.text:
            wrong.append(f"{package.file}: {site.path}:{site.line}")
    return wrong


def score(detector: Detector, pairs: Iterable[tuple[Package, Mapping[str, bytes]]]) -> Score:
    found = false = missed = 0
    wrong = []
    for package, files in pairs:
        lines = {path: detector(source, path) for path, source in files.items()}
        for site in package.sites:
            said = site.line in lines[site.path]
            found += said and site.changes
            false += said and not site.changes
            missed += site.changes and not said
            if said != site.changes:
                wrong.append(f"{'false' if said else 'missed'}: {package.name} {site.path}:{site.line} {site.text}")
    return Score(found, false, missed, tuple(wrong))


def by_tree(source: bytes, path: str) -> frozenset[int]:
    return frozenset(gate.line for gate in find_python_gates(source, path, TARGET) if gate.changes)


def by_line(source: bytes, path: str) -> frozenset[int]:
    """The baseline."""
    lines = source.decode("utf-8", "replace").split("\n")
    return frozenset(
        number
        for number, line in enumerate(lines, 1)
        if not line.lstrip().startswith("#") and _WORD.search(line) and (_UPPER.search(line) or _EXACT.search(line))
    )
