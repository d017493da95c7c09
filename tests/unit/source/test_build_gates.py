"""Build files on a target: each form, its effect, and what must not be taken for a gate."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.arch import ComputeCapability
from shim.model import Confidence
from shim.source.gates.buildfile import find_build_gates, find_tree_gates
from shim.source.gates.find import find_gates
from shim.source.gates.model import Effect, Gate, Sign
from shim.source.tree import FolderTree

SPARK = ComputeCapability(12, 1)
HEAD = "import os, torch\nfrom setuptools import setup\nfrom torch.utils.cpp_extension import CUDAExtension\n"


def gates(text: str, path: str = "setup.py", target: ComputeCapability = SPARK) -> list[Gate]:
    return list(find_build_gates(text.encode(), path, target))


def said(text: str, path: str = "setup.py", target: ComputeCapability = SPARK) -> list[tuple[int, str, Effect]]:
    return [(gate.line, gate.form, gate.effect) for gate in gates(text, path, target) if gate.changes]


class TestLists:
    def test_retired_and_uncovered(self):
        text = HEAD + 'f.append("arch=compute_53,code=sm_53")\nf.append("arch=compute_80,code=sm_80")\n'
        assert said(text) == [
            (4, "gencode-retired", Effect.BREAKS_BUILD),
            (5, "gencode-list", Effect.DROPS),
        ]
        first = gates(text)[0]
        assert (first.text, first.sign, first.confidence) == (
            'f.append("arch=compute_53,code=sm_53")',
            Sign.POSITIVE,
            Confidence.HIGH,
        )
        assert "compute_53" in first.words
        assert "CUDA 13" in first.words

    @pytest.mark.parametrize(
        ("pairs", "effect"),
        [
            (["compute_121,code=sm_121"], Effect.NONE),
            (["compute_120,code=sm_120"], Effect.NONE),
            (["compute_120f,code=sm_120f"], Effect.NONE),
            (["compute_80,code=sm_80", "compute_90,code=compute_90"], Effect.DROPS),
            (["compute_120a,code=sm_120a", "compute_80,code=sm_80"], Effect.DROPS),
        ],
    )
    def test_what_the_target_gets(self, pairs, effect):
        text = HEAD + "".join(f'f += ["arch={pair}"]\n' for pair in pairs) + "# gencode\n"
        assert {gate.effect for gate in gates(text)} == {effect}

    def test_ptx_alone_is_told(self):
        (gate,) = gates(HEAD + 'f += ["arch=compute_90,code=compute_90"]')
        assert "PTX 90 only" in gate.words

    def test_a_list_for_other_families_is_exact(self):
        (gate,) = gates(HEAD + 'f += ["arch=compute_90a,code=sm_90a"]')
        assert (gate.sign, gate.effect) == (Sign.EXACT, Effect.NONE)

    def test_conditions_that_cannot_hold(self):
        assert said(HEAD + 'if cuda_version < (12, 0):\n    f += ["arch=compute_50,code=sm_50"]\n') == []

    def test_open_conditions_lower_the_confidence(self):
        (gate,) = gates(HEAD + 'if wanted:\n    f += ["arch=compute_50,code=sm_50"]\n')
        assert gate.confidence is Confidence.MEDIUM

    def test_computed_lists_are_not_judged(self):
        assert gates(HEAD + 'f += [f"arch=compute_{x},code=sm_{x}", "arch=compute_80,code=sm_80"]') == []

    def test_a_default_names_its_variable(self):
        (gate,) = gates(
            HEAD + 'if not os.environ.get("TORCH_CUDA_ARCH_LIST"):\n    os.environ["TORCH_CUDA_ARCH_LIST"] = "8.0"'
        )
        assert (gate.form, gate.effect) == ("arch-variable", Effect.DROPS)
        assert "unless TORCH_CUDA_ARCH_LIST is set" in gate.words

    def test_cuda_major_branches_that_end_at_12(self):
        text = HEAD + (
            'CAPABILITIES = "6.0;7.0"\ncompute_caps = CAPABILITIES\n'
            'if installed_cuda_version()[0] == 12:\n    compute_caps += ";12.0"\n'
        )
        text = text.replace("CAPABILITIES", "COMPUTE_CAPABILITIES")
        assert said(text) == [(4, "arch-list-retired", Effect.BREAKS_BUILD)]

    def test_a_closed_list_needs_the_target_itself(self):
        assert said(HEAD + 'SUPPORTED_ARCHS = {"8.0", "12.0"}') == [(4, "arch-list-closed", Effect.DROPS)]
        assert said(HEAD + 'SUPPORTED_ARCHS = {"8.0", "12.1"}') == []

    def test_tables_of_running_programs_are_left_to_python_gates(self):
        assert gates('ARCHS = ["3.5", "5.0"]\n# nvcc -gencode\n', "pkg/table.py") == []
        assert gates(HEAD + '_tegra_archs = ("32", "53")') == []

    def test_another_target(self):
        text = HEAD + 'f += ["arch=compute_90,code=sm_90"]'
        assert said(text, target=ComputeCapability(9, 0)) == []
        assert said(text) == [(4, "gencode-list", Effect.DROPS)]


class TestCMake:
    def test_a_fixed_list(self):
        assert said('set(CMAKE_CUDA_ARCHITECTURES "75")', "CMakeLists.txt") == [(1, "cmake-archs", Effect.DROPS)]

    def test_native_is_not_judged(self):
        assert gates("set(CMAKE_CUDA_ARCHITECTURES native)", "CMakeLists.txt") == []

    @pytest.mark.parametrize(
        ("text", "form"),
        [
            ("cuda_select_nvcc_arch_flags(FLAGS ${ARCHS})", "cmake-select-arch-flags"),
            (r'if(name MATCHES "^([0-9]\\.[0-9](\\([0-9]\\.[0-9]\\))?)$")' + "\nendif()", "cmake-regex-one-digit"),
            ('string(REPLACE "2.1" "2.1(2.0)" caps "${caps}")', "cmake-fermi-replace"),
            (r'string(REGEX MATCH "arch=compute_\([0-9]+a?\)" X "${Y}")', "cmake-regex-no-suffix"),
            ('cuda_archs_loose_intersection(A "9.0a;12.0a" "${CUDA_ARCHS}")', "cmake-arch-intersection"),
            ('set(CUDA_SUPPORTED_ARCHS "8.0;9.0;12.0")', "arch-list-closed"),
        ],
    )
    def test_forms(self, text, form):
        (gate,) = [gate for gate in gates(text, "CMakeLists.txt") if gate.changes]
        assert (gate.form, gate.line) == (form, 1)

    @pytest.mark.parametrize(
        "text",
        [
            r'if(name MATCHES "^([0-9]+\\.[0-9][af]?(\\([0-9]+\\.[0-9]\\))?)$")' + "\nendif()",
            r'string(REGEX MATCH "arch=compute_\([0-9]+[af]?\)" X "${Y}")',
            'cuda_archs_loose_intersection(A "9.0a" "${CUDA_ARCHS}")',
            'cuda_archs_loose_intersection(A "9.0a;12.0f" "${CUDA_ARCHS}")',
            "# set(CMAKE_CUDA_ARCHITECTURES 50)",
            "message(STATUS sm_50)",
        ],
    )
    def test_no_gates(self, text):
        assert said(text, "cmake/utils.cmake") == []

    def test_the_fermi_line_hits_x_2_1_only(self):
        text = 'string(REPLACE "2.1" "2.1(2.0)" caps "${caps}")'
        assert said(text, "a.cmake", ComputeCapability(12, 0)) == []


class TestOthers:
    def test_standard(self):
        text = (
            HEAD + "flags = ['-std=c++17']\nif torch.version.hip:\n    flags = ['-std=c++14']\nmore = ['-std=c++20']\n"
        )
        assert said(text) == [(4, "cxx-standard", Effect.BREAKS_BUILD)]
        assert said("from setuptools import setup\nflags = ['-std=c++17']  # nvcc, no such library") == []

    def test_gpu_checks(self):
        text = HEAD + "if not torch.cuda.is_available():\n    raise OSError('no GPU')\n"
        assert said(text) == [(4, "gpu-check-raises", Effect.REFUSES)]
        text = (
            HEAD + "if torch.cuda.is_available():\n    ext = CUDAExtension('x', [])\nforce = os.getenv('FORCE_CUDA')\n"
        )
        assert said(text) == [(4, "gpu-check-cpu-only", Effect.DISABLES)]
        assert "unless FORCE_CUDA is set" in gates(text)[0].words

    def test_download(self):
        text = HEAD + "import urllib.request\nurllib.request.urlretrieve('x.whl')\nF = os.getenv('X_FORCE_BUILD')\n"
        assert said(text) == [(5, "wheel-download", Effect.MISLEADS)]
        assert "X_FORCE_BUILD makes it compile" in gates(text)[0].words

    def test_own_parser(self):
        text = (
            HEAD
            + "def parse(v):  # CUDA_ARCH\n    for p in v.split(';'):\n"
            + "        m = p.split('.')[0]\n        yield m + '0'\n"
        )
        assert said(text) == [(7, "arch-parser-drops-minor", Effect.DROPS)]
        assert said(text, target=ComputeCapability(12, 0)) == []

    def test_branches_by_name(self):
        text = HEAD + "if '80' in cuda_archs():\n    pass\nif '120' in cuda_archs():\n    pass\n"
        assert said(text) == [(6, "arch-by-name", Effect.DROPS)]
        assert said(text.replace("'120'", "'121'")) == []

    def test_cuda_major_table(self):
        text = HEAD + 'cuda_minor_ok = {11: ["11.8"], 12: ["12.8"]}\nif major in cuda_minor_ok:\n    pass\n# nvcc'
        assert said(text) == [(4, "cuda-major-table", Effect.REFUSES)]
        assert said(text.replace("12: [", "13: [")) == []


class TestTree:
    def write(self, folder: Path, **files: str) -> FolderTree:
        for name, text in files.items():
            path = folder / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return FolderTree(folder)

    def test_missing_sources_and_headers(self, tmp_path):
        tree = self.write(
            tmp_path,
            setup_dot_py=HEAD + "setup(ext_modules=[CUDAExtension('x', ['a.cu', 'gone.cu', 'lost.cpp'])])",
            a_dot_cu='#include <cub/iterator/counting_input_iterator.cuh>\n#include "b.cuh"\n#include "torch/x.cuh"\n',
        )
        found = [(gate.path, gate.form) for gate in find_tree_gates(tree, SPARK)]
        assert found == [("a.cu", "missing-include"), ("setup.py", "missing-source"), ("a.cu", "removed-header")]
        words = {gate.form: gate.words for gate in find_tree_gates(tree, SPARK)}
        assert "gone.cu and 1 more" in words["missing-source"]

    def test_joined(self, tmp_path):
        tree = self.write(
            tmp_path,
            setup_dot_py=HEAD + "f = ['-std=c++17']",
            pkg__ops_dot_py="import torch\ndef ok():\n    return torch.cuda.get_device_capability() == (12, 0)\n",
            tests__test_x_dot_py=HEAD + "f = ['-std=c++17']",
            CMakeLists_dot_txt="set(CMAKE_CUDA_ARCHITECTURES 75)",
        )
        found = {(gate.path, gate.line) for gate in find_gates(tree, SPARK) if gate.changes}
        assert found == {("setup.py", 4), ("pkg/ops.py", 3)}  # setuptools does not run that CMakeLists.txt

    def test_cmake_counts_where_it_is_run(self, tmp_path):
        tree = self.write(
            tmp_path,
            pyproject_dot_toml='[build-system]\nbuild-backend = "scikit_build_core.build"\n',
            CMakeLists_dot_txt="set(CMAKE_CUDA_ARCHITECTURES 75)",
        )
        assert [gate.path for gate in find_gates(tree, SPARK)] == ["CMakeLists.txt"]

    def test_an_own_copy_of_the_module_is_judged_itself(self, tmp_path):
        tree = self.write(
            tmp_path,
            x__a_dot_cmake="cuda_select_nvcc_arch_flags(F ${A})",
            x__select_compute_arch_dot_cmake='string(REPLACE "2.1" "2.1(2.0)" c "${c}")',
        )
        assert [gate.form for gate in find_gates(tree, SPARK)] == ["cmake-fermi-replace"]

    def test_files_that_cannot_be_read(self, tmp_path):
        class Torn(FolderTree):
            def names(self):
                return [*super().names(), "pkg/gone.py"]

        (tmp_path / "setup.py").write_text(HEAD + "f = ['-std=c++17']")
        assert [gate.form for gate in find_gates(Torn(tmp_path), SPARK)] == ["cxx-standard"]
