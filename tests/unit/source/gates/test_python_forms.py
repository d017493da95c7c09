"""Every form in which a source tests the capability, on the target 12.1."""

from __future__ import annotations

import textwrap

import pytest

from shim.arch import ComputeCapability
from shim.source.gates.model import Effect, Gate, Sign
from shim.source.gates.python import find_python_gates

TARGET = ComputeCapability(12, 1)


def gates(source: str, path: str = "pkg/module.py", target: ComputeCapability = TARGET) -> tuple[Gate, ...]:
    return find_python_gates(textwrap.dedent(source).encode(), path, target)


def only(source: str) -> Gate:
    found = [gate for gate in gates(source) if gate.changes]
    assert len(found) == 1, gates(source)
    return found[0]


CAP = "import torch\ncap = torch.cuda.get_device_capability()\nmajor, minor = cap\n"
REFUSING = {
    "compare-tuple": "if cap != (12, 0):\n    raise RuntimeError('12.0 only')\n",
    "compare-part": "if not (major == 12 and minor == 0):\n    raise RuntimeError('12.0 only')\n",
    "compare-int": "sm = major * 10 + minor\nif sm == 120:\n    run()\nelse:\n    raise RuntimeError\n",
    "compare-float": "version = float(f'{major}.{minor}')\nif version != 12.0:\n    raise RuntimeError\n",
    "compare-string": "arch = f'sm_{major}{minor}'\nif arch != 'sm_120':\n    raise RuntimeError\n",
    "membership": "if cap not in {(9, 0), (10, 0), (12, 0)}:\n    raise RuntimeError\n",
    "range": "if not (8, 0) <= cap <= (9, 0):\n    raise RuntimeError('too new')\n",
    "bound": "if cap > (9, 0):\n    raise RuntimeError('too new')\n",
    "table-lookup": "name = {(9, 0): 'h', (12, 0): 'b'}.get(cap)\nif name is None:\n    raise RuntimeError\n",
}


@pytest.mark.parametrize("form", REFUSING)
def test_refusing_forms(form: str) -> None:
    gate = only(CAP + REFUSING[form])
    assert (gate.form, gate.sign, gate.effect) == (form, Sign.POSITIVE, Effect.REFUSES)
    assert gate.text in REFUSING[form]
    assert gate.words


@pytest.mark.parametrize(
    "test",
    [
        "f'{major}.{minor}' in ('8.9', '12.0')",
        "str(major) + '.' + str(minor) == '12.0'",
        "int(f'{major}{minor}') in [90, 120]",
        "cap[0] == 12 and cap[1] == 0",
        "(major, minor) in {(9, 0): 1, (12, 0): 2}",
        "'sm%d%d' % (major, minor) == 'sm120'",
        "torch.cuda.get_device_properties(0).major == 12 and torch.cuda.get_device_properties(0).minor == 0",
        "current_platform.is_device_capability(120)",
        "current_platform.is_device_capability((12, 0))",
        "any(cap == one for one in [(9, 0), (12, 0)])",
    ],
)
def test_ways_to_write_exactly_12_0(test: str) -> None:
    gate = only(CAP + f"def check():\n    if not ({test}):\n        raise RuntimeError\n")
    assert (gate.sign, gate.effect, gate.line) == (Sign.POSITIVE, Effect.REFUSES, 5)


@pytest.mark.parametrize(
    "test",
    [
        "cap >= (8, 0)",
        "cap[0] >= 9",
        "major == 12",
        "cap in ((12, 0), (12, 1))",
        "cap == (12, 0) or cap == (12, 1)",
        "sm // 10 == 12",
        "120 <= sm < 130",
        "current_platform.is_device_capability_family(120)",
        "arch.startswith('sm_12')",
    ],
)
def test_what_holds_the_target_is_no_gate(test: str) -> None:
    head = CAP + "sm = major * 10 + minor\narch = f'sm_{sm}'\n"
    assert not [gate for gate in gates(head + f"if not ({test}):\n    raise RuntimeError\n") if gate.changes]


@pytest.mark.parametrize(
    "test", ["cap[0] == 9", "cap in ((10, 0), (10, 3))", "(9, 0) <= cap < (11, 0)", "major in (9, 10)"]
)
def test_code_of_other_generations_is_exact_on_purpose(test: str) -> None:
    [gate] = gates(CAP + f"if not ({test}):\n    raise RuntimeError\n")
    assert (gate.sign, gate.effect) == (Sign.EXACT, Effect.NONE)


def test_flashattention_3_is_kept_where_it_belongs() -> None:
    source = CAP + "def flash3_available():\n    return (8, 0) <= cap <= (9, 0)\n"
    assert [gate.changes for gate in gates(source)] == [False]


def test_a_switch_that_12_1_slips_past_is_negative() -> None:
    gate = only(CAP + "def pick(use_fused):\n    if cap == (12, 0):\n        use_fused = False\n    return use_fused\n")
    assert (gate.sign, gate.effect) == (Sign.NEGATIVE, Effect.MISLEADS)
    gate = only(CAP + "packed_layout = cap != (12, 0)\nif packed_layout:\n    pack()\n")
    assert (gate.sign, gate.effect) == (Sign.NEGATIVE, Effect.MISLEADS)


def test_numbers_are_tuning() -> None:
    for source in (
        "num_warps = 8 if cap == (12, 0) else 4\n",
        "if cap == (12, 0):\n    BLOCK_M, num_stages = 64, 3\n",
        "tiles = {(8, 0): (64, 2), (12, 0): (32, 4)}.get(cap, (16, 1))\n",
        "run(cap == (12, 0) and heads == 24 and dim == 128 and page == 64)\n",
    ):
        assert [gate.effect for gate in gates(CAP + source)] == [Effect.TUNES], source


def test_a_helper_of_the_file_is_followed_to_its_use() -> None:
    tuning = """
        def is_sm120():
            return torch.cuda.get_device_capability() == (12, 0)
        block = 64 if is_sm120() else 128
    """
    assert [gate.effect for gate in gates(tuning)] == [Effect.TUNES]
    refusing = tuning.replace("block = 64 if is_sm120() else 128", "assert is_sm120()")
    assert only(refusing).effect is Effect.REFUSES


def test_values_are_followed_through_names_self_and_helpers() -> None:
    gate = only(
        """
        def get_sm(device):
            major, minor = torch.cuda.get_device_capability(device)
            return major * 10 + minor

        class Backend:
            def __init__(self):
                self.version = get_sm(0)

            def check(self):
                found = self.version
                if found not in (90, 100, 120):
                    raise RuntimeError
        """
    )
    assert (gate.line, gate.scope, gate.form) == (12, "Backend.check", "membership")


def test_a_helper_with_a_literal_argument() -> None:
    source = """
        def matches(device, versions):
            major, minor = torch.cuda.get_device_capability(device)
            return f"{major * 10 + minor}" in versions

        def check(device):
            if matches(device, {names}):
                raise RuntimeError("broken")
    """
    assert only(source.replace("{names}", '["120"]')).sign is Sign.NEGATIVE
    assert not gates(source.replace("{names}", '["120", "121"]'))


def test_a_branch_that_the_target_does_not_reach_is_silent() -> None:
    assert not gates(CAP + "if major == 8:\n    if minor != 0:\n        raise RuntimeError\n")
    assert not gates(CAP + "if major >= 12:\n    run()\nelif cap != (9, 0):\n    raise RuntimeError\n")
    rocm = CAP + "if torch.version.hip:\n    if cap not in ((9, 0), (12, 0)):\n        raise RuntimeError\n"
    assert not gates(rocm)


def test_the_last_rung_of_a_ladder_is_the_gate() -> None:
    gate = only(CAP + "if major == 8:\n    a()\nelif major == 9:\n    b()\nelse:\n    raise ValueError(cap)\n")
    assert (gate.line, gate.effect) == (6, Effect.REFUSES)
    assert "9.x" in gate.words


def test_versions_of_toolkits_and_constants_are_told_apart() -> None:
    for source in (
        "cuda = tuple(map(int, torch.version.cuda.split('.')))\nif cuda != (12, 0):\n    raise RuntimeError\n",
        "class Kernel:\n    arch = 120\n    def check(self):\n        assert self.arch in (90, 100, 120)\n",
        "def epilogue(gemm):\n    if gemm.arch == 120:\n        raise RuntimeError\n",
        "def build(arch: int = 80):\n    if arch not in (80, 86, 89):\n        raise ValueError(arch)\n",
        "def check(capability):\n    if config.arch == 'llama':\n        raise RuntimeError\n",
    ):
        assert not [gate for gate in gates(source) if gate.changes], source
    assert not gates("def is_valid(sm):\n    return sm.sm in [90, 100, 120]\n", "jit/generate_kernels.py")


def test_other_makers_files_are_passed_over() -> None:
    source = "if torch.cuda.get_device_capability() != (12, 0):\n    raise RuntimeError\n"
    assert gates(source, "ops/kernel.py")
    assert not gates(source, "ops/rocm/kernel.py")


def test_device_names() -> None:
    gate = only(
        """
        for index in range(torch.cuda.device_count()):
            if "NVIDIA GB10" in torch.cuda.get_device_name(index).upper():
                print("not supported here")
                fast = False
        """
    )
    assert (gate.form, gate.sign, gate.effect) == ("device-name", Sign.NEGATIVE, Effect.DISABLES)


def test_a_test_that_names_the_target_is_none_unless_it_refuses() -> None:
    assert [gate.effect for gate in gates(CAP + "is_gb10 = cap == (12, 1)\nif is_gb10:\n    prepare()\n")] == [
        Effect.NONE
    ]
    assert only(CAP + "if cap == (12, 1):\n    raise RuntimeError\n").effect is Effect.REFUSES


def test_class_limits_lists_and_decorators() -> None:
    gate = only("class FwOp:\n    CUDA_MAXIMUM_COMPUTE_CAPABILITY = (9, 0)\n")
    assert (gate.form, gate.effect, gate.scope) == ("class-maximum", Effect.REFUSES, "FwOp")
    assert not [
        gate for gate in gates("class Flash3Op:\n    CUDA_MAXIMUM_COMPUTE_CAPABILITY = (9, 0)\n") if gate.changes
    ]
    gate = only("def load():\n    ops.FwOp.CUDA_MAXIMUM_COMPUTE_CAPABILITY = (12, 0)\n")
    assert gate.form == "class-maximum"
    gate = only("class Mma:\n    admissible_archs = [Arch.sm_120a]\n")
    assert gate.form == "arch-list"
    assert not gates("class Mma:\n    admissible_archs = ['sm_120a', 'sm_121a']\n")
    assert not gates("class Mma:\n    admissible_archs = ['sm_120f']\n")
    assert only("@supported_compute_capability([90, 120])\ndef f(): ...\n").form == "decorator"
    assert not gates("@supported_compute_capability([90, 120, 121])\ndef f(): ...\n")


def test_parsing_that_breaks() -> None:
    gate = only(
        """
        def archs():
            for arch in os.environ["TORCH_CUDA_ARCH_LIST"].split(";"):
                major, minor = arch.split(".")
                yield int(major), int(minor)
        """
    )
    assert (gate.form, gate.effect) == ("parse-minor", Effect.BREAKS_BUILD)
    gate = only("TORCH_CUDA_ARCH_LIST = ''\ndef flags(cap):\n    return int(cap[1].split('+')[0])\n")
    assert gate.form == "parse-minor"
    gate = only("def f(arch):\n    CUDA_ARCH = int(arch[:2])\n    return CUDA_ARCH\n")
    assert gate.form == "parse-two-digits"
    careful = "def f(arch):\n    a, b = arch.split('.')\n    b = b.rstrip('af')\n    return int(b)\n"
    assert not gates("TORCH_CUDA_ARCH_LIST = ''\n" + careful)


def test_another_target() -> None:
    source = CAP + "if cap == (10, 0):\n    run()\nelse:\n    raise RuntimeError\n"
    assert [gate.changes for gate in gates(source, target=ComputeCapability(10, 3))] == [True]
    assert not gates(source, target=ComputeCapability(10, 0))
