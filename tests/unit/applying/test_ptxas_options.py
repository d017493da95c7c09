"""Replaying the options of a fatbin entry: real ones go through, hostile ones do not."""

from __future__ import annotations

import pytest

from shim.applying.ptxas_options import replayed
from shim.errors import InputError
from tests.builders import kernels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("   \n ", ()),
        ("--compile-only  ", ("--compile-only",)),
        ("-c", ("--compile-only",)),
        ("-maxrregcount=96", ("--maxrregcount=96",)),
        ("-maxrregcount 96 ", ("--maxrregcount=96",)),
        ("--maxrregcount archmax", ("--maxrregcount=archmax",)),
        ("-O1", ("--opt-level=1",)),
        ("-O=2", ("--opt-level=2",)),
        ("-O 2", ("--opt-level=2",)),
        ("--opt-level 3", ("--opt-level=3",)),
        ("-dlcm=cg", ("--def-load-cache=cg",)),
        ("--generate-line-info", ("--generate-line-info",)),
        ("-lineinfo", ("--generate-line-info",)),
        ("-w", ("--disable-warnings",)),
        ("-fmad=false", ("--fmad=false",)),
        ("-m64", ("--machine=64",)),
        ("--maxntid 128,1,1", ("--maxntid=128,1,1",)),
        (
            "-g --dont-merge-basicblocks --return-at-end",
            ("--device-debug", "--dont-merge-basicblocks", "--return-at-end"),
        ),
        (
            "-v -O2 -allow-expensive-optimizations=true  ",
            ("--verbose", "--opt-level=2", "--allow-expensive-optimizations=true"),
        ),
        ("-O3 -O1", ("--opt-level=3", "--opt-level=1")),
        ("-arch=sm_80 -w", ("--disable-warnings",)),
        ("--gpu-name sm_80 -Werror", ()),
        ('"-w"', ("--disable-warnings",)),
    ],
)
def test_known_options(text, expected):
    assert replayed(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("-o /etc/passwd", "'-o' names a file"),
        ("-o=/etc/passwd", "names a file"),
        ("--output-file x", "names a file"),
        ("--input-as-string .version", "names a file or an input"),
        ("-ias x", "names a file or an input"),
        ("-optf x", "names a file"),
        ("--options-file=x", "names a file"),
        ("@response", "'@response' among the ptxas options is not an option"),
        ("other.ptx", "is not an option"),
        ("-w other.ptx", "'other.ptx' among"),
        ("-", "is not an option"),
        ("--", "is not an option"),
        ("---w", "is not an option"),
        ("-I/etc", "is not an option"),
        ("-I /etc", "not one that shim replays"),
        ("-ftz=true", "not one that shim replays"),
        ("--entry k", "not one that shim replays"),
        ("-e k", "not one that shim replays"),
        ("--sanitize=memcheck", "not one that shim replays"),
        ("--help", "not one that shim replays"),
        ("-w=1", "'-w=1' is not one that shim replays"),
        ("-O", "has the value ''"),
        ("-O9x", "not one that shim replays"),
        ("-maxrregcount", "has the value ''"),
        ("-maxrregcount=96,-o,/etc/passwd", "has the value '96,-o,/etc/passwd'"),
        ("-maxrregcount --output-file=x", "has the value '--output-file=x'"),
        ("-maxrregcount=9999999", "has the value"),
        ("-maxrregcount=٣", "has the value"),
        ("-maxrregcount='96\n'", "has the value"),
        ("-dlcm=/etc/passwd", "expected ca|cg"),
        ("-arch=/etc/passwd", "has the value"),
        ("-w '", "cannot be split into words (No closing quotation)"),
        ("-w " * 6000, "ptxas options of 18000 characters"),
        ("-" + "x" * 1000, "xxx...'"),
        ("-w\0-o", "is not an option"),
    ],
)
def test_refused_options(text, words):
    with pytest.raises(InputError) as caught:
        replayed(text)
    assert words in caught.value.message
    assert len(caught.value.message) < 250


@pytest.mark.parametrize(
    "text",
    [
        "--compile-only",
        "-maxrregcount=96",
        "-O1",
        "-dlcm=cg -dscm=wb -flcm=ca -fscm=cg",
        "--generate-line-info",
        "-v -O2 -allow-expensive-optimizations=true",
        "-w -fmad=false -c --preserve-relocs",
        "-O3 -O1",
        "-Ofc max -regUsageLevel 7 -pic=true -device-stack-protector=false",
        "-maxntid 128 -minnctapersm 2 --override-directive-values",
        "-warn-spills -warn-double-usage -warn-lmem-usage --suppress-stack-size-warning",
        "-suppress-debug-info -annotate -opt-fp-atomics -disable-optimizer-consts -sp-bounds-check",
        "-c -func-maxrregcount 64 -ewp",
        "-m64 --split-compile=2",
    ],
)
def test_the_long_form_means_the_same_to_ptxas(text):
    """Byte for byte: ptxas notes the options it was given in the cubin."""
    ptx = kernels.ptx_text(["a", "b"], steps=5)
    as_stored = kernels.build_cubin(ptx, options=text.split())
    assert kernels.build_cubin(ptx, options=replayed(text)) == as_stored
