"""Stand-ins for libraries that a library needs and this machine lacks (cuBLAS, cuSPARSE ...).

Each exports, with the right versions, just the names that the one library takes from it. Every function returns 0, but
for the guards of C++ statics: enough to load the library, and to call those of its functions that do not need the
missing one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

from elftools.elf.elffile import ELFFile

from tests.builders.c_code import compile_c

# The Itanium C++ ABI's one-time initialisation: 0 would mean that somebody else has done it.
GUARDS = {
    "__cxa_guard_acquire": "int __cxa_guard_acquire(char* guard) { return !*guard; }",
    "__cxa_guard_release": "void __cxa_guard_release(char* guard) { *guard = 1; }",
}
MACHINES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"}


def machine_of(library: Path) -> str:
    """ "x86_64" or "aarch64"."""
    with library.open("rb") as file:
        return MACHINES[ELFFile(file)["e_machine"]]


def needed(library: Path) -> dict[str, dict[str, set[str]]]:
    """Needed library -> version ("" for none) -> names taken from it. Names without a version are in no library."""
    with library.open("rb") as file:
        elf = ELFFile(file)
        found: dict[str, dict[str, set[str]]] = {
            tag.needed: defaultdict(set) for tag in elf.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")
        }
        home = {}
        for need, versions in elf.get_section_by_name(".gnu.version_r").iter_versions():
            home |= {version["vna_other"]: (need.name, version.name) for version in versions}
        table, numbers = elf.get_section_by_name(".dynsym"), elf.get_section_by_name(".gnu.version")
        for index, symbol in enumerate(table.iter_symbols()):
            number = numbers.get_symbol(index)["ndx"]
            if symbol["st_shndx"] == "SHN_UNDEF" and number in home:
                name, version = home[number]
                found[name][version].add(symbol.name)
    return found


def cuda_major(library: Path) -> int:
    """Of the libcudart that it needs."""
    (name,) = (name for name in needed(library) if name.startswith("libcudart.so."))
    return int(name.split(".")[2])


def build_stand_in(folder: Path, name: str, versions: Mapping[str, Collection[str]], machine: str) -> Path:
    """A library called `name` with these names."""
    folder.mkdir(parents=True, exist_ok=True)
    source, script = folder / f"{name}.c", folder / f"{name}.map"
    every = sorted(set().union(*versions.values()))
    bodies = [GUARDS.get(symbol, f"int {symbol}(void) {{ return 0; }}") for symbol in every]
    source.write_text("\n".join([*bodies, "static int nothing __attribute__((unused));", ""]))
    script.write_text(
        "".join(
            f"{version} {{ global: {' '.join(symbol + ';' for symbol in sorted(names))} }};\n"
            for version, names in sorted(versions.items())
        )
    )
    options = ["-shared", "-fPIC", "-fno-builtin", f"-Wl,-soname,{name}"]
    options += [f"-Wl,--version-script={script}"] if every else []
    return compile_c(folder / name, [source], machine=machine, options=options)


def stand_ins(library: Path, folder: Path, *, keep: Collection[str]) -> Path:
    """Stand-ins for everything that `library` needs but whose name begins with a word of `keep`; returns `folder`."""
    machine = machine_of(library)
    folder.mkdir(parents=True, exist_ok=True)
    for name, versions in needed(library).items():
        if not name.startswith(tuple(keep)):
            build_stand_in(folder, name, versions, machine)
    return folder
