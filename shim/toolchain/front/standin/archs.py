"""The architecture options of nvcc: -arch, -code, -gencode.

Facts (`nvcc --dryrun`, CUDA 13.0.88): `-arch` may stand beside `-gencode`; `-code` only beside a virtual `-arch`; of
several `-arch` the last one counts, several `-gencode` and `-code` add up; equal ones twice are harmless.
"""

from __future__ import annotations

from .words import ARCH, CODE, GENCODE

TYPE_CHECKING = False  # type checkers take it for typing's own, which is slow to import
if TYPE_CHECKING:
    Pair = tuple[str, tuple[str, ...]]  # compute_80, (sm_80, compute_80)


class Unreadable(Exception):
    """The architecture options make no sense to us: nvcc shall say what it thinks of them."""


class Found:
    """The architecture options of a call, wherever they stand."""

    def __init__(self) -> None:
        self.arch: str | None = None
        self.codes: list[str] = []
        self.pairs: list[Pair] = []

    @property
    def any(self) -> bool:
        return bool(self.arch or self.codes or self.pairs)

    def take(self, name: str, value: str | None) -> bool:
        """True if the option is about architectures; it is noted then."""
        if name not in ARCH and name not in CODE and name not in GENCODE:
            return False
        if not value:
            raise Unreadable(f"{name} without a value")
        if name in ARCH:
            self.arch = value.strip()
        elif name in CODE:
            self.codes += names(value)
        else:
            self.pairs.append(gencode(value))
        return True

    def main(self) -> Pair | None:
        """What -arch and -code stand for together; None for none and for native, all, all-major."""
        if self.arch is None:
            if self.codes:
                raise Unreadable("-code without -arch")
            return None
        kind, number = split_arch(self.arch)
        if kind is None:
            if self.arch in ("native", "all", "all-major") and not self.codes:
                return None
            raise Unreadable(f"-arch={self.arch}")
        if self.codes:
            if kind != "compute":
                raise Unreadable(f"-arch={self.arch} with -code")
            return self.arch, tuple(self.codes)
        if kind == "sm":
            return f"compute_{number}", (self.arch, f"compute_{number}")
        return f"compute_{number}", (self.arch,)


def names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.strip("[]\"' ").split(",")) if name]


def gencode(text: str) -> Pair:
    """Read `arch=compute_80,code=[sm_80,compute_80]`; the order, quotes and blanks are free."""
    parts: dict[str, str] = {}
    rest = text.strip().strip("'").strip()
    while rest:
        key, equals, rest = rest.partition("=")
        key = key.strip(", ")
        rest = rest.lstrip()
        if not equals or key not in ("arch", "code") or key in parts:
            raise Unreadable(f"-gencode {text}")
        if rest[:1] in ("[", '"'):
            end = rest.find("]" if rest[0] == "[" else '"', 1)
            if end < 0:
                raise Unreadable(f"-gencode {text}")
            parts[key], rest = rest[1:end], rest[end + 1 :]
        else:
            parts[key], _, rest = rest.partition(",")
    if parts.keys() != {"arch", "code"} or split_arch(parts["arch"].strip())[0] != "compute":
        raise Unreadable(f"-gencode {text}")
    return parts["arch"].strip(), tuple(names(parts["code"]))


def split_arch(name: str) -> tuple[str | None, str]:
    """sm_120a -> ("sm", "120a"); (None, "") for what is no architecture."""
    kind, _, number = name.partition("_")
    digits = number[:-1] if number[-1:] in ("a", "f") else number
    if kind in ("sm", "compute", "lto") and digits.isdigit() and len(digits) < 4:
        return kind, number
    return None, ""


def pair(arch: str, kind: str) -> Pair:
    return f"compute_{arch}", (f"{kind}_{arch}",)


def codes_of(pairs: list[Pair]) -> list[str]:
    return list(dict.fromkeys(code for _, codes in pairs for code in codes))


def bracketed(codes: tuple[str, ...]) -> str:
    return codes[0] if len(codes) == 1 else f"[{','.join(codes)}]"


def is_known(name: str, known: list[int]) -> bool:
    """A name that is no architecture counts as known: nvcc shall complain about it."""
    kind, number = split_arch(name)
    return kind is None or int(number.rstrip("af")) in known
