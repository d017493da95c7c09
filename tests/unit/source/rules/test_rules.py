"""Generic rules on small build files of the shapes that real packages have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from shim.arch import Arch
from shim.errors import InputError
from shim.source.rules import RuleContext, apply_rules, build_settings, known_to

NATIVE = RuleContext(arch=Arch.parse("121"), torch=(2, 14))


class Tree:
    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = files

    def names(self) -> Collection[str]:
        return list(self.files)

    def read(self, name: str) -> bytes:
        if name not in self.files:
            raise InputError(name)
        return self.files[name].encode()


def edited(files: Mapping[str, str], context: RuleContext = NATIVE) -> tuple[dict[str, str], list[str]]:
    found = dict(files)
    edits = apply_rules(Tree(files), context)
    for edit in edits:
        assert found[edit.path].encode() == edit.before
        found[edit.path] = edit.after.decode()
    return found, [edit.origin for edit in edits]


def variables(files: Mapping[str, str], context: RuleContext = NATIVE) -> dict[str, str]:
    return {setting.name: setting.value for setting in build_settings(Tree(files), context)}


CAUSAL = """import os
FORCE_BUILD = os.getenv("CAUSAL_CONV1D_FORCE_BUILD", "FALSE") == "TRUE"
cc_flag.append("-gencode")
cc_flag.append("arch=compute_53,code=sm_53")
cc_flag.append("-gencode")
cc_flag.append("arch=compute_80,code=sm_80")
"""


def test_retired_and_other_archs_become_the_target() -> None:
    found, origins = edited({"setup.py": CAUSAL})
    assert origins == ["retired-arch", "missing-arch"]
    assert found["setup.py"].count('"arch=compute_121,code=sm_121"') == 2
    assert "compute_53" not in found["setup.py"]
    assert "compute_80" not in found["setup.py"]


def test_a_second_run_changes_nothing() -> None:
    found, _ = edited({"setup.py": CAUSAL, "CMakeLists.txt": 'set(CMAKE_CUDA_ARCHITECTURES "75")\n'})
    assert edited(found) == (found, [])


def test_flags_of_implicit() -> None:
    found, _ = edited({"setup.py": '["-arch=sm_60", "-gencode=arch=compute_70,code=compute_70", "-arch", "sm_80"]'})
    assert found["setup.py"] == '["-arch=sm_121", "-gencode=arch=compute_121,code=sm_121", "-arch", "sm_121"]'


def test_host_flags_and_comments_stay() -> None:
    text = '# arch=compute_80,code=sm_80\nargs += ["-arch", "arm64", "-march=native", "--offload-arch=gfx90a"]\n'
    assert edited({"setup.py": text}) == ({"setup.py": text}, [])


def test_computed_pairs_stay() -> None:
    text = 'flags = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in archs]\n'
    assert edited({"setup.py": text}) == ({"setup.py": text}, [])


def test_code_of_another_family_stays_and_the_own_family_keeps_its_suffix() -> None:
    text = 'x = ["arch=compute_90a,code=sm_90a", "arch=compute_120a,code=sm_120a"]\n'
    found, _ = edited({"setup.py": text})
    assert found["setup.py"] == 'x = ["arch=compute_90a,code=sm_90a", "arch=compute_121a,code=sm_121a"]\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('set(CMAKE_CUDA_ARCHITECTURES "75")', 'set(CMAKE_CUDA_ARCHITECTURES "121-real")'),
        ("set(CMAKE_CUDA_ARCHITECTURES 80;89;90) # why", 'set(CMAKE_CUDA_ARCHITECTURES "121-real") # why'),
        ("set(CMAKE_CUDA_ARCHITECTURES 80 90)", 'set(CMAKE_CUDA_ARCHITECTURES "121-real")'),
        (
            'set(CMAKE_CUDA_ARCHITECTURES 80 CACHE STRING "archs")',
            'set(CMAKE_CUDA_ARCHITECTURES "121-real" CACHE STRING "archs")',
        ),
        ("set(CMAKE_CUDA_ARCHITECTURES ${ARCHS})", None),
        ("set(CMAKE_CUDA_ARCHITECTURES OFF)", None),
        ("# set(CMAKE_CUDA_ARCHITECTURES 75)", None),
        (
            "set_target_properties(x PROPERTIES CUDA_ARCHITECTURES native)",
            'set_target_properties(x PROPERTIES CUDA_ARCHITECTURES "121-real")',
        ),
        ('set_property(TARGET x PROPERTY CUDA_ARCHITECTURES "${A}")', None),
        ("if(DEFINED CMAKE_CUDA_ARCHITECTURES)", None),
    ],
)
def test_lists_of_cmake(before: str, after: str | None) -> None:
    found, _ = edited({"CMakeLists.txt": before + "\n"})
    assert found["CMakeLists.txt"] == (before if after is None else after) + "\n"


def test_ptx_beside_the_code() -> None:
    context = replace(NATIVE, ptx=(Arch.parse("80"),))
    found, _ = edited({"CMakeLists.txt": "set(CMAKE_CUDA_ARCHITECTURES 75)\n"}, context)
    assert found["CMakeLists.txt"] == 'set(CMAKE_CUDA_ARCHITECTURES "121-real;80-virtual")\n'
    assert variables({"setup.py": ""}, context)["NVCC_APPEND_FLAGS"] == "-gencode=arch=compute_80,code=compute_80"
    assert "NVCC_APPEND_FLAGS" not in variables({"setup.py": ""})


def test_torch_lists_in_setup_py() -> None:
    text = 'if not os.environ.get("TORCH_CUDA_ARCH_LIST"):\n    os.environ["TORCH_CUDA_ARCH_LIST"] = "8.0 8.6"\n'
    found, _ = edited({"setup.py": text})
    assert found["setup.py"] == text.replace("8.0 8.6", "12.1")


@pytest.mark.parametrize(
    ("arch", "ptx", "value"), [("121", "", "12.1"), ("121a", "", "12.1a"), ("80", "80", "8.0+PTX")]
)
def test_torch_list(arch: str, ptx: str, value: str) -> None:
    context = RuleContext(arch=Arch.parse(arch), ptx=(Arch.parse(ptx),) if ptx else ())
    assert variables({"setup.py": ""}, context)["TORCH_CUDA_ARCH_LIST"] == value


def test_no_torch_takes_an_f() -> None:
    context = RuleContext(arch=Arch.parse("120f"))
    assert variables({"setup.py": ""}, context)["TORCH_CUDA_ARCH_LIST"] == "12.0"


def test_cxx_standard_follows_torch() -> None:
    files = {"setup.py": 'import torch\nargs = {"cxx": ["-std=c++17"], "nvcc": ["-std=gnu++14"]}\n'}
    found, origins = edited(files)
    assert origins == ["cxx-standard"]
    assert found["setup.py"] == 'import torch\nargs = {"cxx": ["-std=c++20"], "nvcc": ["-std=gnu++20"]}\n'
    assert edited(files, replace(NATIVE, torch=(2, 11))) == (files, [])
    assert edited(files, replace(NATIVE, torch=None)) == (files, [])


def test_cxx_standard_stays_without_torch_and_where_it_is_chosen() -> None:
    for text in ('args = ["-std=c++11"]\n', 'import torch\ns = "-std=c++20" if new else "-std=c++17"\n'):
        assert edited({"setup.py": text}) == ({"setup.py": text}, [])
    removed = 'import torch\nargs.remove("-std=c++17")\n'
    assert edited({"setup.py": removed}) == ({"setup.py": removed}, [])


def test_headers_of_cuda_13() -> None:
    text = "#include <cub/iterator/counting_input_iterator.cuh>\ncub::CountingInputIterator<int> it(0);\n"
    found, origins = edited({"setup.py": "", "a/knn.cu": text})
    assert origins == ["cuda13-headers"]
    assert (
        found["a/knn.cu"] == "#include <thrust/iterator/counting_iterator.h>\nthrust::counting_iterator<int> it(0);\n"
    )
    older = replace(NATIVE, toolkit=(12, 9), known=known_to((12, 9)))
    assert edited({"setup.py": "", "a/knn.cu": text}, older)[1] == []


def test_cuda_12_still_knows_the_old_archs() -> None:
    older = replace(NATIVE, toolkit=(12, 9), known=known_to((12, 9)))
    assert edited({"setup.py": '"arch=compute_53,code=sm_53"'}, older)[1] == ["missing-arch"]


@pytest.mark.parametrize(
    ("source", "name", "value"),
    [
        ('os.getenv("X_FORCE_BUILD", "FALSE") == "TRUE"', "X_FORCE_BUILD", "TRUE"),
        ('os.getenv("FORCE_CUDA", "0") == "1"', "FORCE_CUDA", "1"),
        ('os.environ.get("FORCE_CUDA", "").lower() in ("yes", "1")', "FORCE_CUDA", "yes"),
        ('int(os.environ.get("BUILD_CUDA_EXT", "0"))', "BUILD_CUDA_EXT", "1"),
        ('os.environ.get("BUILD_CUDA_EXT", "1") == "1"', "BUILD_CUDA_EXT", None),
        ('os.getenv("FORCE_ONLY_CUDA", "0") == "1"', "FORCE_ONLY_CUDA", None),
        ('os.getenv("X_SKIP_CUDA_BUILD", "FALSE") == "TRUE"', "X_SKIP_CUDA_BUILD", None),
        ('os.getenv("NATTEN_CUDA_ARCH", "")\n def f(arch): float(arch)', "NATTEN_CUDA_ARCH", None),
        ('os.getenv("FLASH_ATTN_CUDA_ARCHS", "80;90").split(";")', "FLASH_ATTN_CUDA_ARCHS", "121"),
        ('a = os.getenv("A_CUDA_ARCHS", "8.0;9.0")', "A_CUDA_ARCHS", "12.1"),
        ('a = os.getenv("CUDA_ARCH")', "CUDA_ARCH", "121"),
    ],
)
def test_switches_and_variables(source: str, name: str, value: str | None) -> None:
    assert variables({"setup.py": f"import os\nx = {source}\n"}).get(name) == value


def test_only_names_that_the_source_has_branches_for() -> None:
    source = (
        'import os\narchs = os.getenv("FA_CUDA_ARCHS", "80;120")\nif "80" in archs: pass\nif "120" in archs: pass\n'
    )
    assert variables({"setup.py": source})["FA_CUDA_ARCHS"] == "120"


def test_cache_variables_of_cmake() -> None:
    files = {"CMakeLists.txt": 'set(DQ_CUDA_ARCHS "" CACHE STRING "which")\nset(OTHER "" CACHE STRING "x")\n'}
    assert variables(files)["CMAKE_ARGS"] == "-DDQ_CUDA_ARCHS=121-real"


def test_helpers_that_setup_py_imports_are_read_and_others_are_not() -> None:
    pair = '"arch=compute_60,code=sm_60"\n'
    found, _ = edited({"setup.py": "from op_builder import x\n", "op_builder/b.py": pair, "pkg/jit.py": pair})
    assert "compute_121" in found["op_builder/b.py"]
    assert found["pkg/jit.py"] == pair


@pytest.mark.parametrize("text", ["def (", "\0", "x = " + "(" * 5000 + ")" * 5000, "\udcff"])
def test_broken_python_is_no_error(text: str) -> None:
    class Broken(Tree):
        def read(self, name: str) -> bytes:
            return text.encode("utf-8", "surrogateescape")

    tree = Broken({"setup.py": ""})
    assert apply_rules(tree, NATIVE) == ()
    assert {setting.origin for setting in build_settings(tree, NATIVE)} == {"missing-arch"}
