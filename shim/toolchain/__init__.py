"""NVIDIA's compiler tools: found, asked, and fetched when none of those present will do."""

from shim.toolchain.ask import accepts, newest_isa, refusal
from shim.toolchain.choose import DRIVER_MAJOR, choose_nvlink, choose_ptxas
from shim.toolchain.find import Surroundings, Survey, find_tools, survey
from shim.toolchain.generation import ptxas_of_release
from shim.toolchain.memory_files import MemoryFiles
from shim.toolchain.nvcc import nvcc_environment
from shim.toolchain.pins import Pin, WheelFile, own_pins, read_pins
from shim.toolchain.tool import Tool, ask_version, tool_digest
from shim.toolchain.toolstore import ToolStore, is_offline

__all__ = [
    "DRIVER_MAJOR",
    "MemoryFiles",
    "Pin",
    "Surroundings",
    "Survey",
    "Tool",
    "ToolStore",
    "WheelFile",
    "accepts",
    "ask_version",
    "choose_nvlink",
    "choose_ptxas",
    "find_tools",
    "is_offline",
    "newest_isa",
    "nvcc_environment",
    "own_pins",
    "ptxas_of_release",
    "read_pins",
    "refusal",
    "survey",
    "tool_digest",
]
