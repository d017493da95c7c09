"""Every byte of a device-code section is image, padding or reported unknown: none is passed over in silence."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shim.devicecode import DeviceCode
from tests.builders import fatbin, hostfile
from tests.builders.fatbin import CUBIN, PTX, Image
from tests.builders.hostfile import Code, HostFile
from tests.builders.reading import read_stream

images = st.builds(
    Image,
    kind=st.sampled_from([PTX, CUBIN, 0x40]),
    arch=st.sampled_from([80, 121]),
    payload=st.binary(max_size=64) | st.integers(0, 64).map(bytes),
)
containers = st.lists(images, max_size=3).map(lambda entries: fatbin.container(*entries))
zeros = st.integers(0, 40).map(lambda n: bytes(8 * n))
# Bytes that are no container and start no ELF file; zeros in them may or may not count as padding.
junk = st.lists(st.sampled_from([0, 0, 0, 1, 255]), max_size=64).map(lambda b: bytes(b) + bytes(-len(b) % 8))
bodies = st.lists(containers | zeros | junk, max_size=6).map(b"".join)


def classify(code: DeviceCode, made: HostFile, section: str, size: int) -> list[str]:
    """One word a byte of the section."""
    start = made.at[section]
    words = ["padding"] * size
    for container in code.containers:
        if container.section == section:
            for i in range(container.offset - start, container.offset - start + container.size):
                assert words[i] == "padding"
                words[i] = "image"
    for rest in code.unknown:
        if rest.section == section:
            for i in range(rest.offset - start, rest.offset - start + rest.size):
                assert words[i] == "padding"
                words[i] = "unknown"
    return words


@given(first=bodies, second=bodies)
def test_every_byte_has_a_label(first: bytes, second: bytes) -> None:
    codes = [Code(data=first, version=0), Code(data=second, section="__nv_relfatbin", version=0)]
    made = hostfile.shared(codes)
    code = read_stream(made.data)
    for section, body in ((".nv_fatbin", first), ("__nv_relfatbin", second)):
        words = classify(code, made, section, len(body))
        assert len(words) == len(body)
        for word, byte in zip(words, body, strict=True):
            assert word != "padding" or byte == 0


@given(first=bodies, second=bodies)
def test_unknown_ranges_are_as_small_as_can_be(first: bytes, second: bytes) -> None:
    """They begin with a byte that is not zero, or where the section begins, and end so."""
    made = hostfile.shared([Code(data=first, version=0), Code(data=second, section="__nv_relfatbin", version=0)])
    sections = {".nv_fatbin": len(first), "__nv_relfatbin": len(second)}
    ranges = read_stream(made.data).unknown
    for rest in ranges:
        start = made.at[rest.section]
        end = start + sections[rest.section]
        assert rest.size > 0
        assert start <= rest.offset < rest.offset + rest.size <= end
        assert rest.offset == start or made.data[rest.offset] != 0
        assert rest.offset + rest.size == end or made.data[rest.offset + rest.size - 1] != 0
    assert [r.offset for r in ranges] == sorted(r.offset for r in ranges)


@given(parts=st.lists(st.tuples(containers, zeros), min_size=1, max_size=5))
def test_containers_and_padding_leave_nothing_unknown(parts: list[tuple[bytes, bytes]]) -> None:
    made = hostfile.shared([Code(data=b"".join(c + z for c, z in parts), version=0)])
    code = read_stream(made.data)
    assert code.unknown == ()
    assert sum(c.size for c in code.containers) == sum(len(c) for c, _ in parts)


@given(entries=st.lists(images, max_size=6))
def test_images_fill_their_container(entries: list[Image]) -> None:
    (container,) = read_stream(fatbin.container(*entries), "a.fatbin").containers
    assert 16 + sum(i.stored_size for i in container.images) == container.size
    at = 16
    for image in container.images:
        assert image.offset == at
        at += image.stored_size
