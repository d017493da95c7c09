"""The surroundings of one build or run under `shim exec`: overlay, variables, and what to tell the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shim.arch import Arch
from shim.errors import ToolError
from shim.toolchain.find import survey
from shim.toolchain.front.install import environment, install, known_archs
from shim.toolchain.front.request import ArchRequest, Mode
from shim.toolchain.interpreter import import_path, interpreter_of
from shim.toolchain.overlay import toolkit_root
from shim.toolchain.torch_arch import TorchArchs, read_torch
from shim.toolchain.triton import advise, find_triton

_TORCH_LIST = "TORCH_CUDA_ARCH_LIST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a command is to run with.

    Attributes:
        environ: its whole environment.
        toolkit: the toolkit behind the overlay; None when there is no nvcc, so that only variables are set.
        notes: one line each, for the user.
    """

    environ: Mapping[str, str]
    toolkit: Path | None
    notes: tuple[str, ...]


def prepare(
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    arch: Arch,
    mode: Mode,
    folder: Path,
    log: Path,
    toolkit: Path | None = None,
    append_flags: bool = False,
    offline: bool = False,
) -> Session:
    """Make the overlay in `folder` and return the session. Variables that the user has set keep their values.

    Args:
        arch: what to build for.
        toolkit: None = the first of this machine's that knows `arch`, of torch's CUDA major where torch is there.
        append_flags: also set NVCC_APPEND_FLAGS, for a build that calls an nvcc by a path of its own.

    Raises:
        ToolError: `toolkit` does not work or does not know `arch`.
    """
    python = interpreter_of(command, environ)
    paths = import_path(python, environ) if python else ()
    torch = read_torch(paths)
    notes: list[str] = []
    values: dict[str, str] = {}
    request = ArchRequest(sass=(str(arch),), mode=mode)
    chosen = toolkit or _find_toolkit(arch, torch, notes)
    if chosen is not None:
        install(folder, toolkit=chosen, archs=request, log=log, wheels=paths)
        values = environment(folder.absolute(), environ)
    values.setdefault("CUDAARCHS", environ.get("CUDAARCHS") or str(arch))
    values[_TORCH_LIST] = environ.get(_TORCH_LIST) or _torch_list(arch, torch, notes)
    if append_flags:
        own = environ.get("NVCC_APPEND_FLAGS", "")
        values["NVCC_APPEND_FLAGS"] = " ".join(filter(None, [own, *request.flags]))
    if triton := find_triton(paths):
        advice = advise(triton, arch.capability, environ, offline=offline)
        values |= advice.variables
        notes += advice.notes
    return Session(environ={**environ, **values}, toolkit=chosen, notes=tuple(notes))


def _find_toolkit(arch: Arch, torch: TorchArchs | None, notes: list[str]) -> Path | None:
    """The first toolkit that knows the architecture; torch refuses to build with another CUDA major than its own."""
    fit = []
    for tool in survey("nvcc").tools:
        try:
            root = toolkit_root(tool.path.parent.parent)
            if arch.capability.sm in known_archs(root / "bin" / "nvcc", root):
                fit.append((tool.version[0], root))
        except ToolError:
            continue
    if not fit:
        notes.append(f"no nvcc on this machine knows sm_{arch}: only variables are set, no nvcc is provided")
        return None
    wanted = torch.cuda[0] if torch and torch.cuda else None
    own_major = [root for major, root in fit if major == wanted]
    if wanted and not own_major:
        used = f"the toolkit {fit[0][1]} is of CUDA {fit[0][0]}"
        notes.append(f"torch was built with CUDA {wanted}, {used}: torch may refuse it")
    return (own_major or [root for _, root in fit])[0]


def _torch_list(arch: Arch, torch: TorchArchs | None, notes: list[str]) -> str:
    """The value for TORCH_CUDA_ARCH_LIST. No torch takes the suffix `f`; a torch that is too old gets what it takes."""
    feature = "" if arch.feature == "f" else arch.feature
    asked = f"{arch.capability}{feature}"
    if torch is None or not torch.accepted:
        return asked
    best = torch.best_for(arch.capability, feature)
    if best is None or best == asked:
        return asked
    notes.append(f"this torch does not take {asked} in {_TORCH_LIST}, so it gets {best}; nvcc is given sm_{arch}")
    return best
