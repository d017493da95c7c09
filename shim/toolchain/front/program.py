"""The program that stands in for nvcc. It is copied out of the package and run alone, once for each nvcc call.

Only the standard library is used, and little of it: a build calls nvcc hundreds of times. What it does: read nvcc's
command line, drop architectures that this nvcc does not know, add those of the target, write one line to the log, and
become the real nvcc (`execv`: exit code, signals and output are nvcc's own).

Facts about the command line: `nvcc --help` and `nvcc --dryrun` of CUDA 13.0.88. `-arch` may stand beside `-gencode`;
`-code` only beside a virtual `-arch`; `-ptx`, `-cubin`, `-optix-ir`, `-ltoir` and `-dlto` allow one architecture;
of several `-arch` the last one counts; options files may name options files; NVCC_PREPEND_FLAGS and
NVCC_APPEND_FLAGS are read by nvcc itself.
"""

from __future__ import annotations

import json
import os
import sys
import time

TYPE_CHECKING = False  # type checkers take it for typing's own; importing that would cost a third of the start-up
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

ADD, REPLACE, DROP_ONLY = "add", "replace", "drop-only"

ARCH = ("-arch", "--gpu-architecture")
CODE = ("-code", "--gpu-code")
GENCODE = ("-gencode", "--generate-code")
OPTIONS_FILE = ("-optf", "--options-file")
OUTPUT = ("-o", "--output-file")
VARIABLES = ("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS")

# Options of nvcc 11 to 13 that take a value, in the next word or after `=`. Flags to the host tools are among them,
# so that `-Xcompiler -arch=...` is not taken for nvcc's own.
WITH_VALUE = frozenset(
    """
    -o --output-file -include --pre-include -l --library -D --define-macro -U --undefine-macro -I --include-path
    -isystem --system-include -L --library-path -odir --output-directory -MF --dependency-output -ccbin
    --compiler-bindir -arbin --archiver-binary -cudart --cudart -cudadevrt --cudadevrt -ldir --libdevice-directory
    -target-dir --target-directory -opt-info --optimization-info -O --optimize -Ofc --Ofast-compile -dopt --dopt
    -ftemplate-backtrace-limit --ftemplate-backtrace-limit -ftemplate-depth --ftemplate-depth -x --x -std --std -m
    --machine -Xcompiler --compiler-options -Xlinker --linker-options -Xarchive --archive-options -Xptxas
    --ptxas-options -Xnvlink --nvlink-options -static-global-template-stub --static-global-template-stub
    -device-entity-has-hidden-visibility --device-entity-has-hidden-visibility -t --threads -split-compile
    --split-compile -split-compile-extended --split-compile-extended -fdevice-time-trace --fdevice-time-trace
    -keep-dir --keep-dir -time --time -run-args --run-args -idp --input-drive-prefix -ddp --dependency-drive-prefix
    -dp --drive-prefix -MT --dependency-target-name -arch --gpu-architecture -code --gpu-code -gencode --generate-code
    -rdc --relocatable-device-code -e --entries -maxrregcount --maxrregcount -ftz --ftz -prec-div --prec-div
    -prec-sqrt --prec-sqrt -fmad --fmad -default-stream --default-stream -Werror --Werror -diag-error --diag-error
    -diag-suppress --diag-suppress -diag-warn --diag-warn -hls --host-linker-script -brief-diag --brief-diagnostics
    -jtd --jump-table-density -device-stack-protector --device-stack-protector -compress-mode --compress-mode
    -frandom-seed --frandom-seed -sanitize --sanitize -optf --options-file -ccbin-flags -nvlink-options
    -dumpmachine-flags -Xfatbinary --fatbinary-options -Xnvvm --nvvm-options -Xcicc --cicc-options
    -Xcudafe --cudafe-options
    """.split()
)
# One letter, the value may follow at once: -Iinclude, -O3.
JOINED = ("-I", "-D", "-U", "-L", "-l", "-O", "-t", "-m", "-o", "-isystem", "-x")

QUERIES = frozenset("--version -V --help -h --list-gpu-arch -arch-ls --list-gpu-code -code-ls".split())
DRY = frozenset("--dryrun -dryrun".split())
KINDS = {
    name: kind
    for kind, names in {
        "compile": "-c --compile -dc --device-c -dw --device-w",
        "device-link": "-dlink --device-link",
        "link": "-link --link -run --run",
        "archive": "-lib --lib",
        "ptx": "-ptx --ptx",
        "cubin": "-cubin --cubin",
        "fatbin": "-fatbin --fatbin",
        "optix-ir": "-optix-ir --optix-ir",
        "ltoir": "-ltoir --ltoir",
        "preprocess": "-E --preprocess -M --generate-dependencies -MM --generate-nonsystem-dependencies",
        "cuda": "-cuda --cuda",
    }.items()
    for name in names.split()
}
ONE_ARCH = ("ptx", "cubin", "optix-ir", "ltoir")
INPUTS = tuple(
    ".cu .c .cc .cxx .cpp .c++ .C .gpu .ptx .cubin .fatbin .ltoir .i .ii .o .obj .a .lib .res .so .s .S".split()
)
DEPTH = 8


class Unreadable(Exception):
    """The architecture options make no sense to us: nvcc shall say what it thinks of them."""


def options(words: list[str]) -> Iterator[tuple[str, str | None, int]]:
    """Yield (name, value, number of words) for each option; a word that is none has the name ""."""
    index = 0
    while index < len(words):
        word = words[index]
        name, equals, value = word.partition("=")
        if not word.startswith("-") or word == "-":
            yield "", word, 1
            index += 1
        elif equals and name in WITH_VALUE:
            yield name, value, 1
            index += 1
        elif word in WITH_VALUE:
            rest = words[index + 1 : index + 2]
            yield word, rest[0] if rest else None, 1 + len(rest)
            index += 1 + len(rest)
        else:
            short = next((short for short in JOINED if word.startswith(short) and not word.startswith("--")), None)
            if short and word not in KINDS and word not in QUERIES and not is_long_flag(word):
                yield short, word[len(short) :], 1
            else:
                yield word, None, 1
            index += 1


def is_long_flag(word: str) -> bool:
    """-link, -lib, -ltoir, -lto, -lineinfo and the like are no joined -l, -o, -m, -D ..."""
    return word in FLAGS


FLAGS = frozenset(
    """
    -lineinfo -lto -m64 -m32 -optix-ir -objtemp -Ofast -extended-lambda -expt-extended-lambda -use_fast_math
    -use-local-env -dlink -dlto -link -lib -ltoir -MD -MMD -MP -MM -M
    """.split()
)


class Found:
    """The architecture options of a call, wherever they stand."""

    def __init__(self) -> None:
        self.arch: str | None = None
        self.codes: list[str] = []
        self.pairs: list[tuple[str, tuple[str, ...]]] = []

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

    def main(self) -> tuple[str, tuple[str, ...]] | None:
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


def gencode(text: str) -> tuple[str, tuple[str, ...]]:
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


def split_raw(text: str) -> list[str]:
    """Words of a flags variable or options file as they stand, quotes included."""
    words: list[str] = []
    word, quoted = "", False
    for letter in text:
        if letter == '"':
            quoted = not quoted
        if letter.isspace() and not quoted:
            if word:
                words.append(word)
            word = ""
        else:
            word += letter
    return [*words, word] if word else words


def strip_text(text: str, found: Found, depth: int = 0) -> str | None:
    """Take the architecture options out of such a text; None if it holds none."""
    raw = split_raw(text)
    kept, changed = strip_words(raw, [word.replace('"', "") for word in raw], found, depth)
    return " ".join(kept) if changed else None


def strip_words(raw: list[str], plain: list[str], found: Found, depth: int) -> tuple[list[str], bool]:
    kept: list[str] = []
    changed = False
    index = 0
    for name, value, count in options(plain):
        words = raw[index : index + count]
        index += count
        if name in OPTIONS_FILE and value and depth < DEPTH:
            swapped = options_file(value, found, depth + 1)
            if swapped:
                words, changed = [name, swapped], True
        if found.take(name, value):
            changed = True
        else:
            kept += words
    return kept, changed


def options_file(value: str, found: Found, depth: int) -> str | None:
    """Like `strip_text` for options files. A changed one becomes a memory file, which the real nvcc inherits."""
    paths = value.split(",")
    changed = False
    for index, path in enumerate(paths):
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read(1 << 22)
        except OSError:
            continue  # nvcc's own words are better
        rest = strip_text(text, found, depth)
        if rest is not None:
            descriptor = os.memfd_create("options", 0)
            os.write(descriptor, rest.encode("utf-8", "surrogateescape"))
            paths[index], changed = f"/proc/self/fd/{descriptor}", True
    return ",".join(paths) if changed else None


class Call:
    """One command line, read; `rewrite` decides what becomes of it."""

    def __init__(self, words: list[str], environ: dict[str, str]) -> None:
        self.before = words
        self.after = words
        self.environ: dict[str, str] = {}  # variables to set for the real nvcc
        self.kind, self.output, self.inputs, self.dlto = describe(words)
        self.archs_before: list[str] = []
        self.archs_after: list[str] = []
        self.dropped: list[str] = []
        self.note = ""
        self._surrounding = environ

    def rewrite(self, config: dict[str, Any]) -> None:
        if self.kind == "query":
            return
        found = Found()
        try:
            self._collect(found)
            main = found.main()
        except Unreadable as err:
            self.environ.clear()
            self.after, self.note = self.before, f"left to nvcc: {err}"
            return
        given = ([main] if main else []) + found.pairs
        special = found.arch if found.arch and not main else None
        self.archs_before = ([special] if special else []) + codes_of(given)
        kept = self._known(given, config["known"])
        result, special = self._choose(given, kept, special, config)
        if (result, special) == (given, found.arch if not main else None):
            self.environ.clear()
            self.after, self.archs_after = self.before, self.archs_before
            return
        self.archs_after = ([special] if special else []) + codes_of(result)
        flags = [f"-arch={special}"] if special else []
        if self._single(result):
            flags = [f"-arch={result[0][1][0]}"]
        else:
            flags += [f"-gencode=arch={virtual},code={bracketed(codes)}" for virtual, codes in result]
        self.after = flags + self.after

    def _single(self, result: list[tuple[str, tuple[str, ...]]]) -> bool:
        return (self.dlto or self.kind in ONE_ARCH) and len(result) == 1 and len(result[0][1]) == 1

    def _collect(self, found: Found) -> None:
        prepend, append = VARIABLES
        for name in (prepend, "", append):
            if name:
                rest = strip_text(self._surrounding.get(name, ""), found)
                if rest is not None:
                    self.environ[name] = rest
            else:
                self.after, _ = strip_words(self.before, self.before, found, 0)

    def _known(self, given: list[tuple[str, tuple[str, ...]]], known: list[int]) -> list[tuple[str, tuple[str, ...]]]:
        kept = []
        for virtual, codes in given:
            good = tuple(code for code in codes if is_known(virtual, known) and is_known(code, known))
            self.dropped += [code for code in codes if code not in good]
            if good:
                kept.append((virtual, good))
        return kept

    def _choose(
        self,
        given: list[tuple[str, tuple[str, ...]]],
        kept: list[tuple[str, tuple[str, ...]]],
        special: str | None,
        config: dict[str, Any],
    ) -> tuple[list[tuple[str, tuple[str, ...]]], str | None]:
        """What to ask nvcc for, and the `all`, `all-major` or `native` that stays."""
        mode = config["mode"]
        codes = codes_of(given)
        lto = bool(codes) and all(code.startswith("lto_") for code in codes)
        wanted = [pair(arch, "lto" if lto else "sm") for arch in config["sass"]]
        wanted += [pair(arch, "compute") for arch in config["ptx"]]
        if self.kind in ONE_ARCH or self.dlto:
            if mode != REPLACE and (kept or special in ("all", "all-major")):
                self.note = "one architecture only: the one given stays" if mode == ADD else ""
                return kept, special
            if mode == DROP_ONLY and not self.dropped:
                return kept, special
            return wanted[:1], None
        if mode == REPLACE:
            return wanted, None
        if mode == DROP_ONLY:
            return (kept or wanted if self.dropped and not special else kept), special
        if special == "native":
            self.note, special = "native stands for the target", None
        present = set(codes_of(kept))
        if special == "all":
            present |= {f"sm_{number}" for number in config["known"]}
        return kept + [extra for extra in wanted if not present.issuperset(extra[1])], special


def pair(arch: str, kind: str) -> tuple[str, tuple[str, ...]]:
    return f"compute_{arch}", (f"{kind}_{arch}",)


def codes_of(pairs: list[tuple[str, tuple[str, ...]]]) -> list[str]:
    return list(dict.fromkeys(code for _, codes in pairs for code in codes))


def bracketed(codes: tuple[str, ...]) -> str:
    return codes[0] if len(codes) == 1 else f"[{','.join(codes)}]"


def is_known(name: str, known: list[int]) -> bool:
    """A name that is no architecture counts as known: nvcc shall complain about it."""
    kind, number = split_arch(name)
    return kind is None or int(number.rstrip("af")) in known


def describe(words: list[str]) -> tuple[str, str | None, list[str], bool]:
    """(kind of call, output file, input files, whether -dlto is given)."""
    kind, output, language, dry, dlto = "", None, False, False, False
    inputs = []
    for name, value, _ in options(words):
        if name in QUERIES:
            return "query", None, [], False
        if not name and value:
            inputs.append(value)
        elif name in OUTPUT:
            output = value
        elif name in KINDS and kind not in ("preprocess", "device-link"):
            kind = KINDS[name]
        language = language or name in ("-x", "--x")
        dry = dry or name in DRY
        dlto = dlto or name in ("-dlto", "--dlink-time-opt")
    if not language and not any(path.endswith(INPUTS) or ".so." in path for path in inputs):
        return "query", output, inputs, dlto
    return ("dryrun" if dry and not kind else kind or "link"), output, inputs, dlto


def write_log(path: str, call: Call, tool: str, *, recorded: bool) -> None:
    """One line, one write: lines of parallel calls do not mix (O_APPEND)."""
    line = {
        "tool": tool,
        "kind": call.kind,
        "argv": call.before,
        "argv_after": call.after,
        "environ_after": call.environ,
        "cwd": os.getcwd(),
        "output": call.output,
        "archs_before": call.archs_before,
        "archs_after": call.archs_after,
        "dropped": call.dropped,
        "changed": call.after is not call.before,
        "recorded": recorded,
        "note": call.note,
        "time": time.time(),
        "pid": os.getpid(),
    }
    data = (json.dumps(line) + "\n").encode("ascii")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(28, "the log's disk is full")
    finally:
        os.close(descriptor)


def record(call: Call, config: dict[str, Any]) -> None:
    """Write what the caller waits for, with nothing in it."""
    stubs = config["stubs"]
    if call.kind == "archive":
        write(call.output or "a.a", b"!<arch>\n")
        return
    if call.kind == "link":
        copy(stubs["library"], call.output or "a.out")
        return
    stub = stubs["object"] if call.kind in ("compile", "device-link") else None
    suffix = ".o" if stub else f".{call.kind}"
    folder, depfile = ".", None
    for name, value, _ in options(call.before):
        if name in ("-odir", "--output-directory"):
            folder = value or "."
        elif name in ("-MF", "--dependency-output"):
            depfile = value
        elif name in ("-MD", "-MMD") or name.startswith("--generate-") and name.endswith("-with-compile"):
            depfile = depfile or ""
    sources = [path for path in call.inputs if not path.endswith((".o", ".obj", ".a"))] or ["a_dlink.cu"]
    outputs = [call.output or os.path.join(folder, stem(path) + suffix) for path in sources]
    for output in outputs:
        if stub:
            copy(stub, output)
        else:
            write(output, b"")
    if depfile is not None:
        blank = " \\\n  "
        where = depfile or os.path.splitext(outputs[0])[0] + ".d"
        write(where, f"{outputs[0]}: {blank.join(sources)}\n".encode("utf-8", "surrogateescape"))


def stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def write(path: str, data: bytes, mode: int = 0o644) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        file.write(data)


def copy(source: str, target: str) -> None:
    with open(source, "rb") as file:
        write(target, file.read(), 0o755)


def host_call(words: list[str]) -> Call:
    """A call of the host compiler, which is recorded but not rewritten."""
    call = Call(words, {})
    kind, output, inputs, previous = "link", None, [], ""
    for word in words:
        if previous == "-o":
            output = word
        elif previous in ("-include", "-isystem", "-MF", "-MT", "-MQ", "-x", "-I", "-L", "-Xlinker", "-D", "-U"):
            pass
        elif not word.startswith("-"):
            inputs.append(word)
        if word in ("-c", "-S"):
            kind = "compile"
        elif word == "-E" or word in ("-M", "-MM"):
            kind = "preprocess"
        elif word.startswith(("-o", "-v", "--version", "-dump", "-print-", "-###")):
            output = word[2:] if word.startswith("-o") and word != "-o" else output
        previous = word
    if not inputs or not any(os.path.splitext(path)[1] in INPUTS for path in inputs):
        kind = "query"
    call.kind, call.output, call.inputs = kind, output, inputs
    return call


def become(program: str, name: str, words: list[str], environ: dict[str, str]) -> NoReturn:
    os.execve(program, [name, *words], {**os.environ, **environ})


def fail(text: str) -> NoReturn:
    print(f"shim's nvcc front: {text}", file=sys.stderr)
    sys.exit(1)


def main(arguments: list[str]) -> None:
    """Run: CONFIG TOOL WORDS..."""
    path, tool, *words = arguments
    try:
        with open(path, encoding="ascii") as file:
            config = json.load(file)
    except (OSError, ValueError) as err:
        fail(f"{path}: {err}")
    if tool == "nvcc":
        call = Call(words, dict(os.environ))
        call.rewrite(config)
    else:
        call = host_call(words)
    recorded = bool(config["record_only"]) and call.kind not in ("query", "preprocess", "dryrun")
    recorded = recorded and not DRY.intersection(words)
    try:
        write_log(config["log"], call, tool, recorded=recorded)
        if recorded:
            record(call, config)
            return
        become(config["programs"][tool], config["names"][tool], call.after, call.environ)
    except OSError as err:
        fail(f"{err.filename or config['log']}: {err.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
