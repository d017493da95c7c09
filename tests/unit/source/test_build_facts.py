"""Facts of build files: what is written, where exactly, and under which conditions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.source.buildfiles.choose import Choice, facts_of
from shim.source.gates.facts import BuildSystem, FileFacts, Mention, MentionKind, read_facts
from shim.source.tree import FolderTree


def facts(text: str, path: str = "setup.py") -> FileFacts:
    return facts_of(text.encode(), path)


def all_mentions(found: FileFacts) -> list[Mention]:
    lists = (found.archs, found.standards, found.variables, found.gpu_checks, found.downloads, found.sources)
    return [mention for one in (*lists, found.quirks, found.legacy_findcuda) for mention in one]


SETUP = '''\
import os, torch  # \u00e9\u00e9 before the spans
from setuptools import setup
from torch.utils.cpp_extension import CUDAExtension
"""-gencode arch=compute_20,code=sm_20 in a docstring"""
flags = ["\u00e9", "-gencode=arch=compute_53,code=sm_53", '-gencode', "arch=compute_90a,code=[sm_90a,compute_90a]"]
if bare_metal_version >= Version("11.8"):
    flags += ["arch=compute_90,code=sm_90"]
if bare_metal_version < Version("12.0"):
    flags += ["arch=compute_70,code=sm_70"]
if torch.version.hip:
    flags += ["-std=c++17"]
else:
    flags += ["-std=c++14"]
arch = os.environ.get("X_CUDA_ARCHS", "80;90")
flags += [f"arch=compute_{arch},code=sm_{arch}"]
setup(ext_modules=[CUDAExtension("x", ["a.cu", "b.cpp"])])
'''


class TestPython:
    def test_spans_are_bytes(self):
        found = all_mentions(facts(SETUP))
        assert len(found) > 8
        for mention in found:
            assert SETUP.encode()[mention.start : mention.end].decode() == mention.text
            assert SETUP.encode()[: mention.start].count(b"\n") + 1 == mention.line

    def test_a_byte_order_mark_and_windows_lines_move_no_span(self):
        data = b"\xef\xbb\xbf" + SETUP.replace("\n", "\r\n").encode()
        for mention in all_mentions(facts_of(data, "setup.py")):
            assert data[mention.start : mention.end].decode() == mention.text

    def test_gencodes(self):
        found = {mention.text: mention for mention in facts(SETUP).archs if mention.kind is MentionKind.GENCODE}
        assert found["arch=compute_53,code=sm_53"].sass == ("53",)
        both = found["arch=compute_90a,code=[sm_90a,compute_90a]"]
        assert (both.sass, both.virtual) == (("90a",), ("90a",))
        assert found["arch=compute_{arch},code=sm_{arch}"].computed
        assert "arch=compute_20,code=sm_20" not in found  # docstring

    def test_conditions(self):
        reached = {mention.text: mention.reached for mention in facts(SETUP).archs}
        assert reached["arch=compute_53,code=sm_53"] is True
        assert reached["arch=compute_90,code=sm_90"] is True
        assert reached["arch=compute_70,code=sm_70"] is False
        standards = {flag.standard: flag.reached for flag in facts(SETUP).standards}
        assert standards == {17: False, 14: True}

    def test_variable_with_default(self):
        (mention,) = [one for one in facts(SETUP).archs if one.kind is MentionKind.ENV]
        assert (mention.variable, mention.archs, mention.overridable) == ("X_CUDA_ARCHS", ("80", "90"), True)
        assert [(one.name, one.default, one.role) for one in facts(SETUP).variables] == [
            ("X_CUDA_ARCHS", "80;90", "archs")
        ]

    @pytest.mark.parametrize(
        ("test", "reached"),
        [
            ("CUDA_HOME is not None", True),
            ("CUDA_HOME is None", False),
            ("installed_cuda_version()[0] == 12", False),
            ("installed_cuda_version()[0] == 13", True),
            ("cuda_version[1] >= 1", False),
            ("(TORCH_MAJOR, TORCH_MINOR) >= (2, 12)", True),
            ("parse_version(torch_version) >= parse_version('2.12')", True),
            ("torch_version >= Version('2.12')", True),
            ("sys.platform == 'win32'", False),
            ("sys.platform.startswith('linux')", True),
            ("os.name == 'nt'", False),
            ("IS_WINDOWS", False),
            ("not IS_ROCM", True),
            ("HIP_BUILD or cuda_version >= (12, 8)", True),
            ("not SKIP_CUDA_BUILD", True),
            ("_building_sdist", False),
            ("something_else", None),
            ("DS_SKIP_CUDA_CHECK", None),
        ],
    )
    def test_what_is_known_of_conditions(self, test, reached):
        found = facts(f'from setuptools import setup\nif {test}:\n    x = "arch=compute_80,code=sm_80"  # gencode\n')
        assert found.archs[0].reached is reached

    def test_an_early_return_is_a_condition(self):
        found = facts(
            "def f():\n    if HIP_BUILD:\n        return []\n    return ['-gencode', 'arch=compute_80,code=sm_80']\n"
        )
        assert found.archs[0].reached is True
        found = facts(
            "def f():\n    if CUDA_HOME is not None:\n        return []\n"
            "    return ['arch=compute_80,code=sm_80']#gencode\n"
        )
        assert found.archs[0].reached is False

    @pytest.mark.parametrize(
        "text",
        ["-arch=sm_60", "--gpu-architecture=sm_60", '-arch", "sm_60'],
    )
    def test_nvcc_arch(self, text):
        (mention,) = facts(f'from setuptools import setup\nflags = ["{text}"]  # nvcc\n').archs
        assert (mention.kind, mention.text, mention.sass, mention.virtual) == ("nvcc-arch", "sm_60", ("60",), ("60",))

    def test_arch_of_other_programs_is_none(self):
        assert facts("import torch\nflags = ['-arch', 'arm64', '-march=native']  # nvcc\nsetup()").archs == ()

    def test_lists(self):
        found = facts(
            'import torch  # nvcc\nARCHS = ["8.0", "9.0+PTX"]\nsetup()\nNAMES = ["8.0"]\nmax_arch = "80"\n'
        ).archs
        assert [(one.text, one.variable, one.virtual) for one in found] == [
            ("8.0", "ARCHS", ()),
            ("9.0+PTX", "ARCHS", ("90",)),
        ]

    @pytest.mark.parametrize(
        ("body", "outcome", "forced"),
        [
            ("if not torch.cuda.is_available():\n    raise Exception('no')", "raises", ()),
            (
                "if torch.cuda.is_available():\n    e = CUDAExtension\nelse:\n    raise NotImplementedError",
                "raises",
                (),
            ),
            ("if torch.cuda.is_available():\n    extensions = [CUDAExtension('x', [])]", "cpu-only", ()),
            (
                "force = os.getenv('FORCE_CUDA', '0') == '1'\n"
                "if torch.cuda.is_available() or force:\n    extension = CUDAExtension",
                "cpu-only",
                ("FORCE_CUDA",),
            ),
            (
                "arch = os.environ.get('CUDA_ARCH')\nif not arch:\n"
                "  if not torch.cuda.is_available():\n    raise OSError",
                "raises",
                ("CUDA_ARCH",),
            ),
            (
                "HAS = torch.cuda.is_available()\nif HAS:\n    pass\nelse:\n    print('building WITHOUT it')",
                "cpu-only",
                (),
            ),
        ],
    )
    def test_gpu_checks(self, body, outcome, forced):
        (check,) = facts(f"from setuptools import setup\nimport os, torch\n{body}\nsetup()").gpu_checks
        assert (check.outcome, check.forced_by) == (outcome, forced)

    def test_a_gpu_check_that_only_prints_is_none(self):
        assert facts("import torch\nif torch.cuda.is_available():\n    print('GPU')\nsetup()").gpu_checks == ()

    def test_download(self):
        text = (
            "import os, urllib.request\nFORCE = os.getenv('X_FORCE_BUILD') == '1'\n"
            "if not FORCE:\n    urllib.request.urlretrieve('x.whl', 'y')\nsetup()\n"
        )
        (download,) = facts(f"# torch.cuda\n{text}").downloads
        assert (download.what, download.prevented_by) == ("wheel", ("X_FORCE_BUILD",))

    @pytest.mark.parametrize("data", [b"def (", b"\xff\xfe", b"# coding: latin-1\nx = '\xe9 gencode'", b"x\0gencode"])
    def test_what_cannot_be_read_says_nothing(self, data):
        assert facts_of(data, "setup.py") == FileFacts()

    def test_deep_nesting(self):
        facts("x = " + "(" * 3000 + ")" * 3000 + "  # gencode")
        facts("x = " + "-" * 50_000 + "1  # gencode")
        facts("x = " + "a." * 20_000 + "b  # gencode")

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=200))
    def test_any_text(self, text):
        data = f"import torch # gencode\n{text}".encode("utf-8", "replace")
        for mention in all_mentions(facts_of(data, "setup.py")):
            assert data[mention.start : mention.end].decode() == mention.text


class TestCMake:
    def test_fixed_list(self):
        (mention,) = facts("set(CMAKE_CUDA_ARCHITECTURES 80;89;90) # A100", "CMakeLists.txt").archs
        assert (mention.text, mention.sass, mention.virtual) == ("80;89;90", ("80", "89", "90"), ("80", "89", "90"))
        assert (mention.overridable, mention.reached) == (False, True)

    @pytest.mark.parametrize(
        "text",
        [
            "if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)\nset(CMAKE_CUDA_ARCHITECTURES 80)\nendif()",
            'set(CMAKE_CUDA_ARCHITECTURES "80" CACHE STRING "archs")',
        ],
    )
    def test_a_default(self, text):
        assert facts(text, "CMakeLists.txt").archs[0].overridable

    def test_real_and_virtual(self):
        (mention,) = facts(
            'set_target_properties(x PROPERTIES CUDA_ARCHITECTURES "75-real;120-virtual")', "a.cmake"
        ).archs
        assert (mention.sass, mention.virtual) == (("75",), ("120",))

    def test_a_computed_list(self):
        (mention,) = facts('set(CMAKE_CUDA_ARCHITECTURES "${MY}")', "CMakeLists.txt").archs
        assert mention.computed
        assert mention.archs == ()

    @pytest.mark.parametrize(
        ("test", "reached"),
        [
            ("WIN32", False),
            ("NOT MSVC", True),
            ("CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8", True),
            ("CUDA_VERSION VERSION_LESS 13.0", False),
            ("X AND (WIN32 OR USE_ROCM)", False),
            ("X OR UNIX", True),
            ("FOO STREQUAL bar", None),
            ("NOT", None),
        ],
    )
    def test_conditions(self, test, reached):
        found = facts(f"if({test})\nset(CMAKE_CUDA_ARCHITECTURES 80)\nendif()", "CMakeLists.txt")
        assert found.archs[0].reached is reached

    def test_else(self):
        text = "if(WIN32)\nset(CMAKE_CUDA_ARCHITECTURES 70)\nelse()\nset(CMAKE_CUDA_ARCHITECTURES 80)\nendif()"
        assert [mention.reached for mention in facts(text, "CMakeLists.txt").archs] == [False, True]

    def test_flags_and_standards(self):
        text = (
            'find_package(Torch)\nset(CMAKE_CUDA_FLAGS "${CMAKE_CUDA_FLAGS} -gencode arch=compute_70,code=sm_70")\n'
            "set(CMAKE_CXX_STANDARD 17)\ntarget_compile_features(x PUBLIC cxx_std_14)\n# -std=c++11\n"
        )
        found = facts(text, "CMakeLists.txt")
        assert [mention.text for mention in found.archs] == ["arch=compute_70,code=sm_70"]
        assert [(flag.text, flag.standard) for flag in found.standards] == [("17", 17), ("14", 14)]
        assert found.torch

    def test_legacy_findcuda(self):
        text = "find_package(CUDA REQUIRED)\ncuda_select_nvcc_arch_flags(FLAGS 8.0)\nfind_package(CUDAToolkit)"
        assert len(facts(text, "CMakeLists.txt").legacy_findcuda) == 2


class TestText:
    def test_makefile(self):
        found = facts(
            "SM_ARCH ?= 70\n# -arch=sm_20\nFLAGS = -arch=sm_60 -gencode arch=compute_80,code=sm_80\n", "Makefile"
        )
        assert [(mention.kind, mention.text) for mention in found.archs] == [
            ("env", "70"),
            ("nvcc-arch", "sm_60"),
            ("gencode", "arch=compute_80,code=sm_80"),
        ]

    def test_pyproject(self):
        text = (
            '[build-system]\nbuild-backend = "scikit_build_core.build"\n'
            '[tool.scikit-build.cmake.define]\nCMAKE_CUDA_ARCHITECTURES = "75;80"\n'
        )
        found = facts(text, "pyproject.toml")
        assert found.system is BuildSystem.SCIKIT_BUILD_CORE
        assert [(mention.text, mention.variable) for mention in found.archs] == [("75;80", "CMAKE_CUDA_ARCHITECTURES")]

    def test_shell(self):
        (mention,) = facts('export TORCH_CUDA_ARCH_LIST="8.0;9.0+PTX"', "build.sh").archs
        assert (mention.text, mention.virtual) == ("8.0;9.0+PTX", ("90",))


class TestTree:
    def test_whole(self, tmp_path: Path):
        (tmp_path / "p" / "csrc").mkdir(parents=True)
        (tmp_path / "p" / "setup.py").write_text(
            "import torch\nfrom torch.utils.cpp_extension import CUDAExtension\n"
            'setup(ext_modules=[CUDAExtension("x", ["csrc/a.cu", "csrc/gone.cu"])])\n'
        )
        (tmp_path / "p" / "pyproject.toml").write_text('[build-system]\nrequires = ["setuptools", "torch"]\n')
        (tmp_path / "p" / "csrc" / "a.cu").write_text(
            '#include "b.cuh"\n#include "torn.cuh"\n#include <cub/iterator/counting_input_iterator.cuh>\n'
        )
        (tmp_path / "p" / "csrc" / "b.cuh").write_text("")
        found = read_facts(FolderTree(tmp_path))
        assert (found.root, found.system, found.torch) == ("p", BuildSystem.SETUPTOOLS, True)
        assert found.requires == ("setuptools", "torch")
        assert found.cuda_sources == ("p/csrc/a.cu",)
        assert [(one.path, one.text, one.file) for one in found.missing_sources] == [
            ("p/csrc/a.cu", "torn.cuh", ""),
            ("p/setup.py", "csrc/gone.cu", "p/csrc/gone.cu"),
        ]
        assert [(one.line, one.instead) for one in found.removed_headers] == [
            (3, "thrust/iterator/counting_iterator.h")
        ]

    @pytest.mark.parametrize(
        ("name", "taken"),
        [
            ("p/setup.py", True),
            ("p/csrc/other/setup.py", False),
            ("p/tests/build.py", False),
            ("p/pkg/test_x.py", False),
            ("p/pkg/mod.py", True),
            ("p/csrc/cutlass/tools/CMakeLists.txt", False),
            ("p/include/cutlass/util.py", False),
            ("p/pkg/cutlass/mma.py", True),
            ("p/op/xpu/builder.py", False),
            ("p/.github/workflows/a.sh", False),
        ],
    )
    def test_choice(self, name, taken):
        names = [name, "p/setup.py", "p/csrc/cutlass/include/cutlass/cutlass.h", "p/include/cutlass/cutlass.h"]
        assert Choice(names).takes(name) is taken

    def test_a_package_called_tests(self):
        assert Choice(["tests/setup.py", "tests/a.py"]).takes("tests/a.py")
