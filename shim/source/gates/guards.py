"""Guards that were compiled in: known texts in libraries, searched in bytes that the caller has at hand.

A text of device code says something only when it stands in the code that the device will take: it comes from the branch
that the compiler left over. PTX keeps texts as lists of numbers, so those are searched for, too.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from shim.arch import ComputeCapability
from shim.model import Confidence
from shim.source.gates.model import Effect, Gate, Sign


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A known text.

    Attributes:
        id: kebab-case. needle: the text. place: "device" or "host". targets: majors it is about, () for all.
        words: what it does there. advice: what to do. evidence: public threads, or the release it was read in.
    """

    id: str
    needle: bytes
    place: str
    sign: Sign
    effect: Effect
    confidence: Confidence
    targets: tuple[int, ...]
    words: str
    advice: str
    evidence: tuple[str, ...]

    @property
    def in_ptx(self) -> bytes:
        """The text as PTX writes it: `105, 115, 32`. Some tools leave the blanks out; nvcc writes them."""
        return b", ".join(str(byte).encode() for byte in self.needle)

    def concerns(self, target: ComputeCapability) -> bool:
        """Whether it says something about the target."""
        return not self.targets or target.major in self.targets


@cache
def guards() -> tuple[Guard, ...]:
    """All known guards."""
    data = tomllib.loads(resources.files("shim.source.gates").joinpath("guards.toml").read_text("utf-8"))
    return tuple(
        Guard(
            id=one["id"],
            needle=one["needle"].encode("utf-8"),
            place=one["place"],
            sign=Sign(one["sign"]),
            effect=Effect(one["effect"]),
            confidence=Confidence(one["confidence"]),
            targets=tuple(one.get("targets", ())),
            words=one["words"],
            advice=one["advice"],
            evidence=tuple(one["evidence"]),
        )
        for one in data["guard"]
    )


def concerning(target: ComputeCapability, place: str) -> tuple[Guard, ...]:
    """Guards about the target in one place."""
    return tuple(guard for guard in guards() if guard.place == place and guard.concerns(target))


def search(content: bytes, known: Sequence[Guard], *, ptx: bool = False) -> tuple[tuple[Guard, int], ...]:
    """(guard, offset in `content`) of the first place of each text."""
    found = ((guard, content.find(guard.in_ptx if ptx else guard.needle)) for guard in known)
    return tuple((guard, offset) for guard, offset in found if offset >= 0)


def longest(known: Iterable[Guard]) -> int:
    """Bytes of the longest text: how much of a piece must be looked at again with the next one."""
    return max((len(guard.needle) for guard in known), default=1)


def gate_of(guard: Guard, member: str, offset: int, *, count: int = 1, where: str = "") -> Gate:
    """The gate of a text found in a library.

    Args:
        offset: in the file; of the first image for device code. count: images that hold it.
        where: what was searched, such as "sm_120", "" for host code.
    """
    images = "1 image" if count == 1 else f"{count} images"
    said = f"{guard.words} (in {images} for {where})" if where else guard.words
    return Gate(
        path=member,
        line=0,
        scope="",
        form=f"compiled-{guard.id}",
        sign=guard.sign,
        effect=guard.effect,
        confidence=guard.confidence,
        text=guard.needle.decode("utf-8"),
        words=said,
        offset=offset,
    )
