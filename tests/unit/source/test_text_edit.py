"""Literal replacement and CMake's set(): exact places, counted, never twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.errors import RecipeError
from shim.source.cmake_edit import is_set, set_variable
from shim.source.glob import matching
from shim.source.text_edit import count_text, replace_text

CMAKE_PROGRAM = shutil.which("cmake", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]))


@given(st.text("ab\n", max_size=30), st.text("ab", min_size=1, max_size=3), st.text("abc", max_size=5))
def test_a_second_run_finds_nothing_new_of_its_own(source: str, find: str, replace: str) -> None:
    if find == replace:
        return
    once = replace_text(source.encode(), find=find, replace=replace)
    if find in replace:
        assert replace_text(once.content, find=find, replace=replace).count <= once.count
    assert once.content == source.encode() if not once.count else once.content != source.encode()


def test_what_is_part_of_the_new_text_is_left_alone() -> None:
    once = replace_text(b"a 12.0 b 12.0", find="12.0", replace="12.0;12.1")
    assert (once.content, once.count) == (b"a 12.0;12.1 b 12.0;12.1", 2)
    assert replace_text(once.content, find="12.0", replace="12.0;12.1").count == 0
    assert replace_text(once.content + b" 12.0", find="12.0", replace="12.0;12.1").count == 1


def test_line_ends_follow_the_file() -> None:
    assert replace_text(b"a\r\nb\r\n", find="a\nb", replace="c\nd").content == b"c\r\nd\r\n"
    assert count_text(b"a\r\nb\r\n", "a\nb") == 1


def test_no_effect_is_refused() -> None:
    for find, replace in (("a", "a"), ("", "b")):
        with pytest.raises(RecipeError, match="no effect"):
            replace_text(b"a", find=find, replace=replace)


CMAKE = b"""\
# set(ARCHS 1)
#[[ set(ARCHS 2) ]]
set(ARCHS 70 "80" CACHE STRING "why (not)")
message("set(ARCHS 3)" [=[set(ARCHS 4)]=])
IF(x)
  SET ( ARCHS
    90 # ninety
  )
endif()
set(ARCHS_X 5)
set(ARCHS 60 PARENT_SCOPE)
"""


def test_set_is_found_as_cmake_finds_it() -> None:
    result = set_variable(CMAKE, variable="ARCHS", value="120;121")
    assert result.count == 3
    assert result.content.decode() == (
        CMAKE.decode()
        .replace('70 "80" CACHE', '"120;121" CACHE')
        .replace("    90 #", '    "120;121" #')
        .replace("60 PARENT", '"120;121" PARENT')
    )
    assert is_set(result.content, variable="ARCHS", value="120;121")
    assert set_variable(result.content, variable="ARCHS", value="120;121").count == 0


@pytest.mark.parametrize("value", ['1"', "1\n", "a\\b"])
def test_values_that_cmake_would_read_otherwise(value: str) -> None:
    with pytest.raises(RecipeError, match="not a plain CMake value"):
        set_variable(CMAKE, variable="ARCHS", value=value)


@pytest.mark.parametrize(
    "source", [b"set(", b"set(ARCHS", b')))"', b"#[[ open", b"[=[", b"set(ARCHS ${X" + b"(" * 9999]
)
def test_broken_cmake_is_left_alone(source: bytes) -> None:
    assert set_variable(source, variable="ARCHS", value="1").content == source


def test_the_overlay_module_knows_new_architectures(tmp_path: Path) -> None:
    module = resources.files("shim.recipes").joinpath("modules/select_compute_arch.cmake")
    script = tmp_path / "t.cmake"
    script.write_text(
        f'include("{module}")\n'
        'cuda_select_nvcc_arch_flags(F 8.0 12.1 "12.0f+PTX" "12.1a(12.0)")\nmessage("${F}")\nmessage("${F_readable}")\n'
        'set(ENV{TORCH_CUDA_ARCH_LIST} "9.0a 12.1")\ncuda_select_nvcc_arch_flags(F Auto)\nmessage("${F_readable}")\n'
    )
    done = subprocess.run([str(CMAKE_PROGRAM), "-P", str(script)], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == [
        "-gencode;arch=compute_80,code=sm_80;-gencode;arch=compute_121,code=sm_121;"
        "-gencode;arch=compute_120f,code=sm_120f;-gencode;arch=compute_120f,code=compute_120f;"
        "-gencode;arch=compute_120,code=sm_121a",
        "sm_80 sm_121 sm_120f compute_120f sm_121a",
        "sm_90a sm_121",
    ]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a/*.py", ["a/x.py"]),
        ("**/*.py", ["a/b/y.py", "a/x.py", "z.py"]),
        ("*.py", ["z.py"]),
        ("a/**", ["a/b/y.py", "a/x.py"]),
        ("a/?.py", ["a/x.py"]),
        ("a/x.p[y]", []),
    ],
)
def test_globs(pattern: str, expected: list[str]) -> None:
    assert matching(["a/x.py", "a/b/y.py", "z.py"], pattern) == expected
