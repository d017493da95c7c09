"""Writes the kept corpus of the fuzz targets: small good files, and the files that once broke a reader.

    python cpp/fuzz/make_corpus.py [FOLDER]

Every file is made by tests/builders, so each byte of it is known; none is longer than 4 KiB (8 for `rewrite`). The last
two bytes of `scan`, `fatbin` and `ar` inputs choose chunk sizes and file name (cpp/fuzz/fuzz.hpp), those of `rewrite`
inputs layout and edits.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.builders import cubin as cubins  # noqa: E402
from tests.builders import fatbin, hostfile  # noqa: E402
from tests.builders.fatbin import Image  # noqa: E402
from tests.builders.hostfile import Code  # noqa: E402

LIMITS = {"rewrite": 8192}  # bytes of a file, where it is not 4096: a page must fit that can be cut out
# Index of the name in fuzz.hpp, and the width of the chunks (2^(1 + width) at most).
NAMES = ("", "a.so", "a.ptx", "a.cubin", "a.fatbin", "a.ltoir", "a.o", "a.a")


def seeded(data: bytes, name: str, width: int = 5) -> bytes:
    return data + struct.pack("<H", NAMES.index(name) | width << 3)


def images() -> dict[str, Image]:
    sm_121 = cubins.cubin(121, compat=fatbin.compat((2, 1), (9, 1), (11, bytes(8))))
    return {
        "ptx": Image(kind=fatbin.PTX, arch=80, payload=fatbin.ptx(), options="-v -maxrregcount=96"),
        "ptx-zstd": Image(kind=fatbin.PTX, arch=121, feature="f", payload=fatbin.ptx("121f"), compression=fatbin.ZSTD),
        "ptx-lz4": Image(kind=fatbin.PTX, arch=90, feature="a", payload=fatbin.ptx("90a"), compression=fatbin.LZ4),
        "ptx-relocatable": Image(kind=fatbin.PTX, arch=120, payload=fatbin.ptx("120"), options="--compile-only"),
        "cubin-8": Image(
            kind=fatbin.CUBIN,
            arch=121,
            feature="a",
            payload=sm_121,
            name="k.cu",
            compat=fatbin.compat((2, 1), (11, bytes(8))),
        ),
        "cubin-7": Image(kind=fatbin.CUBIN, arch=90, payload=cubins.cubin(90, abi=7), version=(1, 7)),
        "lto": Image(kind=fatbin.LTO_IR, arch=90, payload=bytes(range(64)), options="-ftz=0 ", compression=fatbin.ZSTD),
        "tile": Image(kind=fatbin.TILE_IR, arch=100, payload=b"\x7fTileIR" + bytes(57)),
        "unknown": Image(kind=0x40, arch=121, payload=bytes(range(64))),
    }


def grouped() -> bytes:
    some = images()
    return fatbin.container(fatbin.group(some["ptx"], some["ptx-zstd"], some["cubin-7"]), some["cubin-8"])


def fatbin_files() -> dict[str, bytes]:
    files = {name: seeded(fatbin.container(image), "a.fatbin") for name, image in images().items()}
    two = fatbin.container(images()["ptx"]) + bytes(24) + fatbin.container(images()["ptx-lz4"])
    files["two"] = seeded(two, "a.fatbin", 2)
    files["empty"] = seeded(fatbin.container(), "a.fatbin")
    files["group"] = seeded(grouped(), "a.fatbin", 7)
    behind_small = fatbin.container(images()["ptx"], fatbin.group(), images()["cubin-7"])
    files["empty-group"] = seeded(behind_small, "a.fatbin", 4)
    files["entry"] = seeded(images()["cubin-8"].encode(), "")
    return files


def section_in_container() -> bytes:
    """A find: .nv_fatbin starts inside a container, whose bytes were then reported as unknown."""
    made = hostfile.shared([Code(data=fatbin.container(images()["ptx"]))])
    header = made.header[".nv_fatbin"]
    moved = fatbin.poke(made.data, header + 24, "<Q", made.containers[0] + 8)
    return fatbin.poke(moved, header + 32, "<Q", len(fatbin.container(images()["ptx"])) - 8)


def scan_files() -> dict[str, bytes]:
    some = images()
    whole = Code(data=fatbin.container(some["ptx-zstd"], some["cubin-8"]))
    codes = [whole, Code(data=fatbin.container(some["ptx"]))]
    rdc = [
        Code(data=fatbin.container(some["ptx-relocatable"]), section="__nv_relfatbin"),
        Code(data=fatbin.container(some["cubin-7"]), version=2),
    ]
    plain = [Code(data=fatbin.container(some["ptx"]), version=0, section=".data.rel")]
    bare = cubins.cubin(120)
    text = fatbin.ptx("90a")
    return {
        "rela": seeded(hostfile.shared(codes, needed=("libcudart.so.13",), soname="liba.so").data, "a.so"),
        "relr-aarch64": seeded(hostfile.shared(codes, pointers="relr", machine="aarch64", align=256).data, "a.so", 7),
        "exec": seeded(hostfile.shared(codes, pointers="in-place").data, "a.so", 0),
        "no-headers": seeded(hostfile.shared(codes, headers=False).data, "a.so", 11),
        "rdc": seeded(hostfile.shared(rdc).data, "a.so"),
        "stub": seeded(hostfile.shared([whole, Code(data=fatbin.container(), version=2)]).data, "a.so"),
        "unreferenced": seeded(hostfile.shared([*codes[:1], Code(data=codes[1].data, version=0)]).data, "a.so"),
        "embedded": seeded(hostfile.shared(plain).data, "a.so"),
        "loose": seeded(hostfile.shared([], rodata=text + bytes(-len(text) % 8), data=bare).data, "a.so"),
        "object": seeded(hostfile.obj(codes).data, "a.o"),
        "object-rdc": seeded(hostfile.obj(rdc, machine="aarch64").data, "a.o"),
        "no-gpu": seeded(hostfile.shared([], needed=("libc.so.6",)).data, "a.so"),
        "archive": seeded(hostfile.ar(("a.o", hostfile.obj(codes[:1]).data), ("b.txt", b"odd")), "a.a"),
        "fatbin": seeded(fatbin.container(some["cubin-7"], some["ptx-lz4"]), "a.fatbin", 3),
        "cubin": seeded(cubins.cubin(121), "a.cubin"),
        "ptx": seeded(fatbin.ptx("121a"), "a.ptx"),
        "ltoir": seeded(bytes(range(128)), "a.ltoir"),
        "find-section-in-container": seeded(section_in_container(), "a.so"),
    }


def elf_files() -> dict[str, bytes]:
    names = ("rela", "relr-aarch64", "exec", "no-headers", "object", "no-gpu")
    return {name: scan_files()[name][:-2] for name in names}


def cubin_files() -> dict[str, bytes]:
    symbols = (
        cubins.Symbol(name="kernel", parameters=((0, 8), (1, 4))),
        cubins.Symbol(name="$kernel$device", other=0),
        cubins.Symbol(name="table", type=cubins.STT_OBJECT, other=0, size=256),
    )
    records = fatbin.compat((2, 1), (9, 1), (11, b"\x50" + bytes(7)))
    return {
        "abi-7": cubins.cubin(90, abi=7, feature="a", symbols=symbols),
        "abi-8": cubins.cubin(121, symbols=symbols, compat=records, repeat_symbols=True),
        "relocatable": cubins.cubin(120, linked=False, symbols=symbols[:1]),
        "no-kernel": cubins.cubin(120, symbols=()),
    }


def ptx_files() -> dict[str, bytes]:
    comments = b"// .entry no\n/* { */ .version 9.0\n.target sm_121a, debug\n"
    comments += b".entry k /* ( */ (.param .u32 a)\n{ ret; }"
    nested = b".version 8.7\n.target sm_120\n.visible .entry k(\n.param .align 8 .b8 s[24],\n.param .u64 p\n)\n"
    nested += b'.maxntid 128\n{\n.pragma "nounroll { ";\n'
    nested += b"{ .reg .b32 r; L: add.s32 r, r, 1; }\n@p bra L;\nret;\n}\n"
    return {
        "plain": fatbin.ptx(),
        "two": fatbin.ptx("121f", kernels=("one", "two")),
        "comments": comments,
        "nested": nested,
        "lines": b".version 9.0\n.target sm_80\n.entry k() {\n.loc\t1 2 0\nL: M:\nmma.sync {a,b}, {c}; ret;\n}\n",
        "declaration": b".version 9.0\n.target sm_90a\n.entry k(.param .u64 p);\n.func f() { ret; }\n",
    }


def ar_files() -> dict[str, bytes]:
    one = hostfile.obj([Code(data=fatbin.container(images()["ptx"]))]).data
    names = hostfile.ar(("/", b"a_very_long_name.o/\n"), ("a.o", one), ("odd", b"abc"), ("k.cubin", cubins.cubin(121)))
    return {
        "object": seeded(hostfile.ar(("a.o", one))[8:], "a.a"),
        "mixed": seeded(names[8:], "a.a", 3),
        "empty": seeded(hostfile.ar(("none", b""))[8:], "a.a"),
        "nested": seeded(hostfile.ar(("in.a", hostfile.ar(("a.o", one))))[8:], "a.a", 7),
    }


def rewrite_files() -> dict[str, bytes]:
    """Two bytes behind each file: layout (modulo 3: repack, append, move) and which containers become what."""
    some = images()
    large = Code(data=fatbin.container(Image(kind=fatbin.PTX, arch=80, payload=fatbin.ptx() + bytes(6000))))
    codes = [Code(data=fatbin.container(some["ptx"])), Code(data=fatbin.container(some["cubin-7"]))]
    unreferenced = Code(data=codes[0].data, version=0)
    pages = hostfile.shared([*codes[:1], large])
    rela = hostfile.shared([*codes, unreferenced], needed=("libcudart.so.13",))
    relr = hostfile.shared(codes, pointers="relr", machine="aarch64", align=256)
    fixed = hostfile.shared(codes, pointers="in-place")
    bare = hostfile.shared(codes, headers=False)
    files = {}
    for number, layout in enumerate(("repack", "append", "move")):
        for seed, name, made in (
            (0xC, "rela", rela),
            (0xFFC, "relr", relr),
            (0, "exec", fixed),
            (0xF00, "pages", pages),
        ):
            files[f"{layout}-{name}"] = made.data + struct.pack("<H", seed - seed % 3 + number)
    files["append-no-headers"] = bare.data + struct.pack("<H", 1)
    return files


TARGETS = {
    "rewrite": rewrite_files,
    "scan": scan_files,
    "elf": elf_files,
    "fatbin": fatbin_files,
    "cubin": cubin_files,
    "ptx": ptx_files,
    "ar": ar_files,
}


def main(folder: Path) -> None:
    for target, make in TARGETS.items():
        for name, data in make().items():
            if len(data) > LIMITS.get(target, 4096):
                raise SystemExit(f"{target}/{name}: {len(data)} bytes, which is too large")
            path = folder / target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("corpus"))
