"""Which names, attributes and calls of a Python source stand for the device's compute capability.

Collected from the packages of tests/gates/labels.toml. A name alone proves little ("arch" may be a model, "cc" a
compiler), so a name counts only where it meets a literal that is written like a capability.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import lru_cache
from typing import Final


class Role(Enum):
    """What an expression of that name holds."""

    CAPABILITY = auto()  # in some form
    MAJOR = auto()
    MINOR = auto()
    PROPERTIES = auto()  # an object with .major, .minor and .name
    DEVICE_NAME = auto()
    TRUE = auto()  # true on any NVIDIA GPU
    FALSE = auto()  # true on other makers' only


_CAPABILITY: Final = re.compile(
    r"_*((cuda|device|dev|gpu|compute|nv|current|target|actual|highest|local|my|self|torch)_)*"
    r"(capability|capabilities|compute_cap|computecapability|cuda_cap|device_cap|cc|(?<=_)sm|sm_?version|sm_?arch|sm_?ver|sm_?num(ber)?|sm_?major_minor"
    r"|arch|cuda_arch|gpu_arch|nvarch|arch_num(ber)?|arch_int|cc_int|cc_tuple|capability_(int|tuple|num|str)|sm_?(int|tuple|str))"
    r"(_(int|tuple|num|number|str|string|value|version))?",
    re.IGNORECASE,
)
_CAPABILITY_CALL: Final = re.compile(
    r"_*(get|torch_get|query|read|current|detect|fetch)_*(\w*_)?"
    r"(capability|compute_cap|compute_capability|cuda_arch|sm_?version|sm_?arch|device_sm|gpu_arch|device_arch|device_cc|cuda_cc|sm|cc|arch)"
    r"(_(int|tuple|number|num|str|torch|version|safe|cached|cuda|for_device))?"
    r"|_*(device|cuda|gpu|compute|dev|target)_(capability|cc|arch|sm)(_(int|tuple|number|num|str))?|getComputeCapability",
)
_MAJOR: Final = re.compile(
    r"_*(\w*_)?(sm|cc|cap|capability|compute_capability|device|arch|gpu|dev)_?major", re.IGNORECASE
)
_MINOR: Final = re.compile(
    r"_*(\w*_)?(sm|cc|cap|capability|compute_capability|device|arch|gpu|dev)_?minor", re.IGNORECASE
)
_PROPERTIES: Final = re.compile(
    r"_*(\w*_)?(prop|props|properties|device_properties|device_prop|dev_props?)", re.IGNORECASE
)
_PROPERTIES_CALL: Final = re.compile(r"_*(get_?)(\w*_)?(device_?)?(properties|props)|getDeviceProperties")
_DEVICE_NAME: Final = re.compile(r"_*(gpu|device|dev|cuda_device)_?names?(_lower|_upper)?", re.IGNORECASE)
_DEVICE_NAME_CALL: Final = re.compile(r"_*get_(gpu|device|cuda_device)_?name")
_OTHER_MAKER: Final = re.compile(
    r"_*(current_platform_)?(is|on|use|using|has|running_on)?_*(hip|rocm|amd|xpu|npu|ascend|hpu|gaudi|musa|mps|tpu|cpu|mi300|mi3xx|gfx\w*|cdna\d?|rdna\d?|cambricon|mlu"
    r"|hip_?cuda|rocm_aiter\w*|intel|corex|metax|maca)(_(platform|device|available|backend|build|gpu|is_available|arch))?",
    re.IGNORECASE,
)
_NVIDIA: Final = re.compile(
    r"_*(is|on|has)_*(cuda|nvidia|cuda_alike|cuda_platform|nvidia_gpu)(_(platform|device|available|backend|gpu|like))?",
    re.IGNORECASE,
)
NOT_NVIDIA_PATH: Final = re.compile(
    r"(^|[/_])(amd|rocm|hip|xpu|npu|ascend|hpu|gaudi|musa|mps|metal|tpu|gfx\d*\w*|aiter|mlx|sycl|cambricon|mlu|openvino|habana)([/_.]|$)"
)


_STRONG: Final = re.compile(r"cap|sm_?version|_cc$|cuda_arch|gpu_arch|device_sm|sm_arch", re.IGNORECASE)
_HOLDS_DEVICE: Final = re.compile(
    r"(^|_)(dev|device|gpu|target|props?|properties|facts|ctx|context|platform|hw|machine|card)\d*(_|$)|_info$",
    re.IGNORECASE,
)


def is_of_device(owner: str, name: str) -> bool:
    """Whether `owner.name` is the device's; `gemm.arch` or `self.arch` is what a kernel was written for."""
    return _STRONG.search(name) is not None or _HOLDS_DEVICE.search(owner) is not None


@lru_cache(maxsize=8192)
def role_of_name(name: str) -> Role | None:
    """The role of a variable, parameter or attribute that nothing better is known about."""
    if _CAPABILITY.fullmatch(name):
        return Role.CAPABILITY
    for pattern, role in (
        (_MAJOR, Role.MAJOR),
        (_MINOR, Role.MINOR),
        (_PROPERTIES, Role.PROPERTIES),
        (_DEVICE_NAME, Role.DEVICE_NAME),
        (_NVIDIA, Role.TRUE),
        (_OTHER_MAKER, Role.FALSE),
    ):
        if pattern.fullmatch(name):
            return role
    return None


@lru_cache(maxsize=8192)
def role_of_call(name: str) -> Role | None:
    """The role of what a function of that name returns."""
    for pattern, role in (
        (_CAPABILITY_CALL, Role.CAPABILITY),
        (_PROPERTIES_CALL, Role.PROPERTIES),
        (_DEVICE_NAME_CALL, Role.DEVICE_NAME),
        (_NVIDIA, Role.TRUE),
        (_OTHER_MAKER, Role.FALSE),
    ):
        if pattern.fullmatch(name):
            return role
    return Role.CAPABILITY if _CAPABILITY.fullmatch(name) else None


TUNING: Final = re.compile(
    r"num_?(warps?|stages?|ctas?|threads?|splits?|waves|sms?|blocks?|regs?)|block|tile|stage|warp|thread|split|config|cfg|threshold|thresh|chunk|cta|swizzle|occupancy|unroll"
    r"|vec(_|$)|schedule|cluster_?(shape|size|m|n)|tuning|tuned|autotune|plan|heuristic|_size|size_|bytes|ratio|limit|grid|bucket|tok_per|persist|depth|pipeline|maxnreg|capacity"
    r"|flops|bandwidth|_bw\b|peak|^[bt][mnkhdvqc]$|^[BT][MNKHDVQC]+S?$|^B_?[A-Z]$|smem|max_\w*len|workspace|perf|speed|fast_?path_min|cutoff|budget|segments|max_seqs|reserve|slots|oversub|group_size|_step|search|gains|measured|segments|max_seqs|reserve|slots|waves|oversub|group_size|interval|step",
    re.IGNORECASE,
)
"""Names of numbers that change speed, not what is done."""

SWITCH_OFF: Final = re.compile(
    r"disabl|skip|unsupport|not_support|avoid|broken|forbid|fall_?back|block_list|exclude|deny|no_|without|workaround|emulat",
    re.IGNORECASE,
)
"""Flags whose True leaves something out."""

OTHER_HARDWARE: Final = re.compile(
    r"tcgen05|tmem|umma|wgmma|sm_?9\dx?a?|sm_?10\dx?[af]?|sm_?11\d[af]?|hopper|gmma|fa_?3|flash_?attn?_?v?3|flash_?3|_fa3|fa_?4|flash_?attn_?4|flash_?attention_?v?[34]|trtllm|cutlass_?mla"
    r"|deep_?gemm|flash_?mla|fmha_?sm100|blackwell_?dc|b200|gb200|b300|gb300|h100|h200|2cta|two_?cta|mnnvl|machete|tma_?gather",
    re.IGNORECASE,
)
"""Words for instructions or kernels that exist on 9.x, 10.x or 11.x alone (wgmma, tcgen05, tensor memory)."""
