"""Code of published wheels, run after their recipes: what it decides for devices that are not here."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from shim.arch import ComputeCapability, Target
from shim.recipes.apply import edit
from shim.recipes.load import load_recipes
from shim.recipes.match import candidates
from shim.recipes.model import AppliesTo, DependencyProof, RunEnv
from shim.source.overlay import EditedTree
from shim.source.tree import SourceTree
from tests.recipes import published

pytestmark = pytest.mark.real

RECIPES = {recipe.id: recipe for recipe in load_recipes()}
AARCH64 = "manylinux aarch64"


def _after(id_: str, package: str, version: str, filename: str) -> SourceTree:
    tree = published.tree(package, version, filename, "3.12")
    return EditedTree(tree, {}).with_edits(edit(RECIPES[id_], tree))


def _functions(source: bytes, names: Mapping[str, Any], *wanted: str) -> dict[str, Callable[..., Any]]:
    """Functions of a module without the rest of it, over the names given. Decorators are left out."""
    module = ast.parse(source)
    module.body = [one for one in module.body if isinstance(one, ast.FunctionDef) and one.name in wanted]
    assert {one.name for one in module.body if isinstance(one, ast.FunctionDef)} == set(wanted)
    for one in module.body:
        if isinstance(one, ast.FunctionDef):
            one.decorator_list = []
    scope = dict(names)
    exec(compile(module, "published", "exec"), scope)
    return {name: scope[name] for name in wanted}


@pytest.mark.parametrize("version", ["0.12.0", "0.20.0", "0.33.0"])
@pytest.mark.parametrize(
    ("device", "weights", "scales", "native"),
    [
        ((8, 0), "Strided", "Strided", False),
        ((9, 0), "HopperMXValue", "HopperMXScale", False),
        ((10, 0), "BlackwellMXValue", "BlackwellMXScale", True),
        ((12, 0), "Strided", "Strided", False),
        ((12, 1), "Strided", "Strided", False),
    ],
)
def test_triton_kernels_route(version: str, device: tuple[int, int], weights: str, scales: str, native: bool) -> None:
    tree = _after("vllm-triton-kernels-sm80-route", "vllm", version, AARCH64)
    root = "vllm/third_party/triton_kernels"

    def at_least(major: int, minor: int = 0) -> bool:
        return device >= (major, minor)

    info = _functions(
        tree.read(f"{root}/target_info.py"),
        {"cuda_capability_geq": at_least},
        "takes_sm80_route",
        "has_tma_gather",
        "has_native_mxfp",
    )
    assert info["has_native_mxfp"]() is info["has_tma_gather"]() is native
    layouts = {f"{name}Layout": name for name in (weights, scales, "Strided")}
    names = {
        f"{family}MX{what}Layout": f"{family}MX{what}"
        for family in ("Hopper", "Blackwell")
        for what in ("Value", "Scale")
    }
    made = _functions(
        tree.read(f"{root}/tensor_details/layout.py"),
        {
            **layouts,
            **names,
            "StridedLayout": "Strided",
            "CDNA4MXScaleLayout": "CDNA4MXScale",
            "cuda_capability_geq": at_least,
            "takes_sm80_route": info["takes_sm80_route"],
            "is_hip_cdna4": lambda: False,
        },
        "make_default_matmul_mxfp4_w_layout",
        "make_default_matmul_mxfp4_w_scale_layout",
    )
    assert made["make_default_matmul_mxfp4_w_layout"](1)[0] == weights
    assert made["make_default_matmul_mxfp4_w_scale_layout"](1)[0] == scales


@pytest.mark.parametrize("version", ["4.0.0b5", "4.0.0b36"])
def test_flash_attention_4_switch(version: str) -> None:
    """The variable chooses the kernels; without it the device does."""
    recipe = RECIPES["flash-attn-4-sm80-kernels"]
    (action,) = recipe.actions
    assert isinstance(action, RunEnv)
    source = published.tree("flash-attn-4", version, "any", "3.12").read("flash_attn/cute/interface.py")
    cuda = SimpleNamespace(get_device_capability=lambda: (12, 1))
    for environ, arch in ((dict(action.set), 80), ({}, 121)):
        names = {"os": SimpleNamespace(environ=environ), "torch": SimpleNamespace(cuda=cuda), "re": __import__("re")}
        found = _functions(source, names, "_parse_arch_str", "_get_device_arch")
        assert found["_get_device_arch"]() == arch


@pytest.mark.parametrize(("device", "refused"), [((12, 0), False), ((12, 1), False), ((10, 0), True), ((9, 0), True)])
def test_flashinfer_fmha(device: tuple[int, int], refused: bool) -> None:
    tree = _after("flashinfer-sm120-fmha", "flashinfer-python", "0.7.2.post1", "any")
    torch = SimpleNamespace(cuda=SimpleNamespace(get_device_capability=lambda _: device), device=object)
    check = _functions(tree.read("flashinfer/attention/cute_dsl/sm120_fmha.py"), {"torch": torch}, "_check_sm120")
    if refused:
        with pytest.raises(RuntimeError):
            check["_check_sm120"](None)
    else:
        check["_check_sm120"](None)


@pytest.mark.parametrize(
    ("version", "listed"),
    [("2.2.0", "12.1"), ("2.5.1", "12.1a"), ("2.6.0", "12.1"), ("2.7.1", "12.1a"), ("2.14.1", "12.0f")],
)
def test_torch_arch_list(version: str, listed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "torch/utils/cpp_extension.py"
    tree: SourceTree = published.tree("torch", version, AARCH64, "3.12")
    names = {name: __import__(name) for name in ("os", "re", "warnings")}
    names |= {"Optional": dict, "List": list, "logger": None}
    names["torch"] = SimpleNamespace(cuda=None)
    from collections import OrderedDict

    names |= {"collections": __import__("collections"), "OrderedDict": OrderedDict}
    names["Optional"] = __import__("typing").Optional
    names["List"] = __import__("typing").List
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", f"{listed};8.0+PTX")
    before = _functions(tree.read(path), names, "_get_cuda_arch_flags")["_get_cuda_arch_flags"]
    with pytest.raises(ValueError, match="Unknown CUDA arch"):
        before()
    ours = [one for one in RECIPES.values() if one.id.startswith("torch-arch-list")]
    (recipe,) = candidates(
        ours, package="torch", version=version, kind=AppliesTo.INSTALLED, target=Target(device=ComputeCapability(12, 1))
    )
    patched = EditedTree(tree, {}).with_edits(edit(recipe, tree)).read(path)
    number = listed.replace(".", "")
    assert set(_functions(patched, names, "_get_cuda_arch_flags")["_get_cuda_arch_flags"]()) == {
        f"-gencode=arch=compute_{number},code=sm_{number}",
        "-gencode=arch=compute_80,code=sm_80",
        "-gencode=arch=compute_80,code=compute_80",
    }


STAYS = [
    (
        "xformers",
        "0.0.33",
        "manylinux x86_64",
        "xformers/ops/fmha/flash3.py",
        "CUDA_MAXIMUM_COMPUTE_CAPABILITY = (9, 0)",
    ),
    (
        "xformers",
        "0.0.35",
        "manylinux x86_64",
        "xformers/ops/fmha/flash3.py",
        "CUDA_MAXIMUM_COMPUTE_CAPABILITY = (9, 0)",
    ),
    (
        "flashinfer-python",
        "0.7.2.post1",
        "any",
        "flashinfer/kda_prefill.py",
        "_SM120_KDA_SUPPORTED_COMPUTE_CAPABILITIES = {(12, 0)}",
    ),
    (
        "flashinfer-python",
        "0.7.2.post1",
        "any",
        "flashinfer/diffusion_ops/cake_minimax_h3_sm120_quant_gate.py",
        "(major, minor) != (12, 0)",
    ),
    ("vllm", "0.33.0", AARCH64, "vllm/models/qwen4_exp/nvidia/ops/qsa.py", "get_device_capability() == (12, 0)"),
    ("vllm", "0.33.0", AARCH64, "vllm/models/minimax_m3/common/ops/index_topk.py", "is_device_capability((12, 0))"),
    ("vllm", "0.33.0", AARCH64, "vllm/_custom_ops.py", "def cutlass_group_gemm_supported"),
    (
        "nvidia-cutlass-dsl-libs-base",
        "4.4.2",
        AARCH64,
        "nvidia_cutlass_dsl/python_packages/cutlass/cute/nvgpu/tcgen05/mma.py",
        "admissible_archs",
    ),
    (
        "transformer-engine-cu13",
        "2.20.2",
        AARCH64,
        "transformer_engine/pytorch/attention/dot_product_attention/utils.py",
        "not in ((8, 0), (9, 0), (10, 0), (12, 0))",
    ),
]


@pytest.mark.parametrize(("package", "version", "filename", "path", "text"), STAYS)
def test_gates_that_stay(package: str, version: str, filename: str, path: str, text: str) -> None:
    """Gates that are right as they are: no recipe touches them, asked for by name or not."""
    tree = published.tree(package, version, filename, "3.12")
    before = tree.read(path)
    assert text.encode() in before
    for kind in AppliesTo:
        for recipe in candidates(
            RECIPES.values(),
            package=package,
            version=version,
            kind=kind,
            target=Target(device=ComputeCapability(12, 1)),
        ):
            if recipe.file_actions:
                after = EditedTree(tree, {}).with_edits(edit(recipe, tree)).read(path)
                assert text.encode() in after
                if "transformer" not in package:
                    assert after == before


@pytest.mark.parametrize(("version", "holds"), [("2.5.1", False), ("2.15.0", True)])
def test_what_torch_says_of_its_own_operator(version: str, holds: bool) -> None:
    """The proof of xformers' FwOp is a text of torch's library: it is in builds that take 12.1, and in no others."""
    (proof,) = RECIPES["xformers-cutlass-fwop"].proofs
    assert isinstance(proof, DependencyProof)
    assert proof.library is not None
    assert proof.contains is not None
    assert published.occurs_in("torch", version, AARCH64, proof.library, proof.contains.encode()) is holds
