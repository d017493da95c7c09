"""The original wheel back from the patched one and its reverse data (form: module `delta`)."""

from __future__ import annotations

import io
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from isal import isal_zlib

from shim.errors import InputError, VerifyError
from shim.wheels.archive import WheelArchive
from shim.wheels.compare import MAX_CHANGED
from shim.wheels.delta import Copy, Deflate, Literal, Operation, prefix_crc32
from shim.wheels.level import recompressor
from shim.wheels.limits import Limits
from shim.wheels.moved import Moved, old_contents
from shim.wheels.output import OutputFile
from shim.wheels.randomfile import PIECE, RandomFile
from shim.wheels.undodata import Literals

__all__ = ["SIDE_CAR", "apply_undo", "side_car", "undo_member"]

SIDE_CAR = ".undo"

_MAX_EMBEDDED = 256 << 20


def undo_member(dist_info: str) -> str:
    """Path of the reverse data inside a patched wheel."""
    return f"{dist_info}/shim/undo"


def side_car(wheel: Path) -> Path:
    """The file with the reverse data that stands beside a patched wheel."""
    return wheel.with_name(wheel.name + SIDE_CAR)


def apply_undo(
    patched: WheelArchive,
    folder: Path,
    *,
    undo: Sequence[Path] = (),
    force: bool = False,
    limits: Limits | None = None,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write the original of a patched wheel, under its original name.

    Args:
        patched: the patched wheel.
        folder: where to write.
        undo: files that may be the side-car, the first that fits is taken; when there are none, the member inside
            the wheel.
        force: replace a different file of that name.
        limits: bounds on the size of the original.
        progress: called with bytes written, step by step.

    Returns:
        The file written.

    Raises:
        InputError: no undo data, or damaged; the file cannot be written.
        VerifyError: the wheel is not the one the undo data was made for, or zlib gives other bytes here.
    """
    with _open_undo(patched, undo) as literals:
        header = literals.header
        _check_bounds(patched, literals, limits or Limits())
        crc = prefix_crc32(patched.file, header.prefix_size)
        if crc != header.prefix_crc32:
            raise VerifyError(
                f"{patched.path}: changed since it was patched, or the undo data is that of another wheel: "
                f"expected CRC-32 {header.prefix_crc32:#010x} of its first {header.prefix_size} bytes, "
                f"found {crc:#010x}",
                hint="use the patched wheel as shim wrote it, and its own undo data",
            )
        out = folder / header.name
        with OutputFile(out, progress=progress) as output:
            for operation in header.operations:
                _apply(patched, literals, operation, output)
            with RandomFile(output.temporary) as result:
                found = result.sha256()
            if found != header.sha256:
                raise VerifyError(
                    f"{out}: the result is not the original: expected SHA-256 {header.sha256}, found {found}",
                    hint="get the original wheel from where it came from",
                )
            output.commit(force=force)
        return out


@contextmanager
def _open_undo(patched: WheelArchive, undo: Sequence[Path]) -> Iterator[Literals]:
    member = undo_member(patched.dist_info)
    if not undo and member in patched:
        data = patched.read(patched.member(member), limit=_MAX_EMBEDDED)
        yield Literals(io.BytesIO(data), f"{patched.path}: member {member!r}")
        return
    files = undo or [path for path in (side_car(patched.path),) if path.exists()]
    if not files:
        raise InputError(
            f"{patched.path}: no undo data: neither a member {member!r} nor a file {side_car(patched.path)}",
            hint="put the .undo file that was written with the patched wheel beside it",
        )
    path = next((path for path in files[:-1] if _fits(patched, path)), files[-1])
    with RandomFile(path), path.open("rb") as raw:  # RandomFile explains what cannot be opened
        yield Literals(raw, str(path))


def _fits(patched: WheelArchive, path: Path) -> bool:
    """Whether a side-car was made for this wheel."""
    try:
        with path.open("rb") as raw:
            header = Literals(raw, str(path)).header
        return prefix_crc32(patched.file, header.prefix_size) == header.prefix_crc32
    except (OSError, InputError):
        return False


def _check_bounds(patched: WheelArchive, literals: Literals, limits: Limits) -> None:
    header = literals.header
    if header.size > limits.max_total_size:
        raise literals.fault(f"the original would have {header.size} bytes, expected at most {limits.max_total_size}")
    if header.prefix_size > patched.file.size:
        raise literals.fault(f"it refers to {header.prefix_size} bytes, the wheel has {patched.file.size}")
    total = sum(operation.size for operation in header.operations)
    if total != header.size:
        raise literals.fault(f"its operations give {total} bytes, expected {header.size}")
    for operation in header.operations:
        match operation:
            case Copy() if operation.offset + operation.size > header.prefix_size:
                raise literals.fault(f"it copies up to byte {operation.offset + operation.size} of the wheel")
            case Deflate() | Moved() if operation.contents_size > limits.max_member_size:
                raise literals.fault(f"member {operation.path!r} would have {operation.contents_size} bytes")
            case Deflate() if sum(size for _, size in operation.ranges) > MAX_CHANGED:
                raise literals.fault(f"member {operation.path!r} has more changes than shim would record")
            case Moved() if sum(size for _, size in operation.pieces) != operation.contents_size:
                raise literals.fault(f"its pieces of member {operation.path!r} do not make up the contents")


def _apply(patched: WheelArchive, literals: Literals, operation: Operation, output: OutputFile) -> None:
    match operation:
        case Copy():
            output.copy(patched.file, operation.offset, operation.size)
        case Literal():
            left = operation.size
            while left:
                piece = literals.read(min(left, PIECE))
                output.write(piece)
                left -= len(piece)
        case Deflate():
            _apply_deflate(patched, literals, operation, _old_contents(patched, literals, operation), output)
        case Moved():
            contents = old_contents(patched, operation, literals.read, output.temporary.parent)
            _apply_deflate(patched, literals, operation, contents, output)


def _apply_deflate(
    patched: WheelArchive,
    literals: Literals,
    operation: Deflate | Moved,
    contents: Iterator[bytes],
    output: OutputFile,
) -> None:
    engine = recompressor(operation.level)
    crc = size = 0
    for piece in contents:
        packed = engine.compress(piece)
        crc, size = isal_zlib.crc32(packed, crc), size + len(packed)
        output.write(packed)
    packed = engine.flush()
    crc, size = isal_zlib.crc32(packed, crc), size + len(packed)
    output.write(packed)
    if (crc, size) != (operation.crc32, operation.size):
        raise VerifyError(
            f"{patched.path}: member {operation.path!r}: zlib {zlib.ZLIB_RUNTIME_VERSION} does not give "
            f"the original compressed bytes here; zlib {literals.header.zlib} did",
            hint=f"run undo with a Python that uses zlib {literals.header.zlib}",
        )


def _old_contents(patched: WheelArchive, literals: Literals, operation: Deflate) -> Iterator[bytes]:
    """The new contents with the old bytes put back, cut or extended to the old size."""
    changes = deque((offset, literals.read(size)) for offset, size in operation.ranges)
    position = 0
    for piece in patched.stream(patched.member(operation.path)):
        data = bytearray(piece)
        end = position + len(data)
        while changes and changes[0][0] < end:
            offset, before = changes.popleft()
            if offset + len(before) > end:  # goes on in the next piece, or behind the new contents
                changes.appendleft((end, before[end - offset :]))
                before = before[: end - offset]
            data[max(offset - position, 0) : offset + len(before) - position] = before
        yield bytes(data[: max(operation.contents_size - position, 0)])
        position = end
    for _, before in changes:
        yield before
