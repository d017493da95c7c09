"""nvcc's command line as options. Facts: `nvcc --help` and `nvcc --dryrun` of CUDA 13.0.88."""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for typing's own, which is slow to import
if TYPE_CHECKING:
    from collections.abc import Iterator


def as_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


ARCH = ("-arch", "--gpu-architecture")
CODE = ("-code", "--gpu-code")
GENCODE = ("-gencode", "--generate-code")
OPTIONS_FILE = ("-optf", "--options-file")
OUTPUT = ("-o", "--output-file")

# Options of nvcc 11 to 13 that take a value, in the next word or after `=`. Flags to the host tools are among them,
# so that `-Xcompiler -arch=...` is not taken for nvcc's own.
WITH_VALUE = as_set(
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
    """
)
# One letter, the value may follow at once: -Iinclude, -O3.
JOINED = ("-I", "-D", "-U", "-L", "-l", "-O", "-t", "-m", "-o", "-isystem", "-x")

QUERIES = as_set("--version -V --help -h --list-gpu-arch -arch-ls --list-gpu-code -code-ls")
DRY = as_set("--dryrun -dryrun")
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
INPUTS = tuple(
    as_set(".cu .c .cc .cxx .cpp .c++ .C .gpu .ptx .cubin .fatbin .ltoir .i .ii .o .obj .a .lib .res .so .s .S")
)
FLAGS = as_set(
    """
    -lineinfo -lto -m64 -m32 -optix-ir -objtemp -Ofast -extended-lambda -expt-extended-lambda -use_fast_math
    -use-local-env -dlink -dlto -link -lib -ltoir -MD -MMD -MP -MM -M
    """
)


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


def describe(words: list[str]) -> tuple[str, str | None, list[str], bool]:
    """(kind of call, output file, input files, whether -dlto is given)."""
    kind, output, language, more, dry, dlto = "", None, False, False, False, False
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
        more = more or name in OPTIONS_FILE  # CMake lists the objects of a device link there
        dry = dry or name in DRY
        dlto = dlto or name in ("-dlto", "--dlink-time-opt")
    if not (kind or more or language or any(path.endswith(INPUTS) or ".so." in path for path in inputs)):
        return "query", output, inputs, dlto
    return ("dryrun" if dry and not kind else kind or "link"), output, inputs, dlto
