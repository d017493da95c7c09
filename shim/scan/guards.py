"""Searches libraries for the texts of known guards: their host code, and the images that the target will take."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from shim.arch import ComputeCapability
from shim.devicecode import Container, GpuImage, ImageKind, decode
from shim.errors import InputError
from shim.scan.containers import image_name
from shim.scan.library import LibraryScan
from shim.scan.sources import Source
from shim.source.gates.guards import Guard, concerning, gate_of, longest, search
from shim.source.gates.model import Gate

_ELF: Final = frozenset({"elf", "ar"})


def compiled_gates(libraries: Sequence[LibraryScan], source: Source, target: ComputeCapability) -> Iterator[Gate]:
    """Guards in the libraries of a package. Reads each of them once more, and decodes the images that will be taken.

    A library that cannot be decoded has none: the scan itself, or `--kernels`, says what is wrong with it.
    """
    for library in libraries:
        if library.report.files == 1:
            try:
                yield from _in_images(library, source, concerning(target, "device"))
                if library.code.format in _ELF:
                    yield from _in_host_code(library, source, concerning(target, "host"))
            except InputError:
                continue


def _in_host_code(library: LibraryScan, source: Source, known: Sequence[Guard]) -> Iterator[Gate]:
    """Texts outside of containers, each at its first place."""
    spans = sorted((container.offset, container.offset + container.size) for container in library.code.containers)
    rest = list(known)
    position, tail = 0, b""
    keep = longest(known)
    for chunk in source.chunks(library.code.member):
        if not rest:
            return
        inside = any(start <= position and position + len(chunk) <= end for start, end in _around(spans, position))
        if not inside:
            window = tail + chunk
            for guard, offset in search(window, rest):
                at = position - len(tail) + offset
                if not any(start <= at < end for start, end in _around(spans, at)):
                    yield gate_of(guard, library.code.member, at)
                    rest.remove(guard)
        tail = bytes(chunk[-keep:])
        position += len(chunk)


def _around(spans: Sequence[tuple[int, int]], offset: int) -> Sequence[tuple[int, int]]:
    """The last span that starts at or before an offset."""
    from bisect import bisect_right

    index = bisect_right(spans, (offset, 1 << 62))
    return spans[max(index - 1, 0) : index]


def _in_images(library: LibraryScan, source: Source, known: Sequence[Guard]) -> Iterator[Gate]:
    """Texts of the images that the target takes, one gate for each text and kind of image."""
    wanted = _chosen(library)
    payloads = zip(sorted(wanted), source.read_ranges(library.code.member, sorted(wanted)), strict=True)
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], tuple[Guard, int]] = {}
    for span, payload in payloads:
        for image in wanted[span]:
            plain = decode(image, payload)
            for guard, _ in search(plain, known, ptx=image.kind is ImageKind.PTX):
                key = guard.id, image_name(image)
                counts[key] += 1
                first.setdefault(key, (guard, image.offset))
    for key, (guard, offset) in first.items():
        yield gate_of(guard, library.code.member, offset, count=counts[key], where=key[1])


def _chosen(library: LibraryScan) -> dict[tuple[int, int], list[GpuImage]]:
    """Images that the target takes, by the bytes of their payload."""
    by_index = {
        index: decision.chosen
        for decision in library.decisions
        if not decision.loose and decision.chosen is not None and (decision.counted or decision.live)
        for index in decision.group.indices
    }
    wanted: dict[tuple[int, int], list[GpuImage]] = defaultdict(list)
    for container in _of(library, by_index):
        image = container.images[by_index[container.index]]
        if image.kind in (ImageKind.SASS, ImageKind.PTX):
            wanted[image.payload_offset, image.payload_size].append(image)
    return wanted


def _of(library: LibraryScan, indices: dict[int, int]) -> Iterator[Container]:
    return (container for container in library.code.containers if container.index in indices)
