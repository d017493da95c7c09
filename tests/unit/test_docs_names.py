"""What docs/ refers to exists: pages, sections, modules and names of shim, options, exit codes, codes and limits."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from shim import errors
from shim.applying.failure import FailureKind
from shim.arch import Grade
from shim.cli import COMMANDS, group
from shim.cli.options import limit_options
from shim.scan.codes import FINDING_CODES
from shim.wheels.limits import Limits

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
SOURCES = sorted(path for top in ("shim", "cpp", "tests") for path in (ROOT / top).rglob("*") if path.is_file())
TEXTS = [path for path in SOURCES if path.suffix in (".py", ".pyi", ".cpp", ".hpp", ".cu", ".cuh")]

# Options of NVIDIA's and Python's programs that the pages mention.
FOREIGN = {
    *(
        "--compile-only",
        "--split-compile",
        "--compress-all",
        "--no-deps",
        "--only-binary",
        "--help",
        "--list-gpu-arch",
        "--version",
    ),
}


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def inline_code(page: Path) -> Iterator[str]:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return (match[1] for match in re.finditer(r"`([^`\n]+)`", prose))


def sections(page: str) -> set[str]:
    """Numbers of the headings of a page: "4", "4.1"."""
    return {match[1] for match in re.finditer(r"^#+ (\d+(?:\.\d+)*)\.? ", text(page), re.MULTILINE)}


def options_of(command: click.Command) -> set[str]:
    """Of the command and those below it."""
    names = [name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)]
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return {name for name in names if name.startswith("-")}.union(*map(options_of, below))


def command_named(name: str) -> click.Command:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    return command


def table_cells(page: str, column: int) -> Iterator[str]:
    """One column of every table of a page."""
    for line in text(page).splitlines():
        if line.startswith("| "):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if len(cells) > column:
                yield cells[column]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_that_are_named_exist(page: Path) -> None:
    named = {code for code in inline_code(page) if re.fullmatch(r"(docs/)?[\w-]+\.md", code)}
    named |= {match[1] for match in re.finditer(r"\]\(([^)#:]+\.md)[^)]*\)", page.read_text(encoding="utf-8"))}
    missing = [name for name in sorted(named) if not (DOCS / name.removeprefix("docs/")).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sections_that_pages_name_exist(page: Path) -> None:
    found = re.findall(r"`(\w+\.md)` (\d+(?:\.\d+)*)(?: and (\d+(?:\.\d+)*))?", page.read_text(encoding="utf-8"))
    missing = [(name, number) for name, *numbers in found for number in numbers if number not in {"", *sections(name)}]
    assert missing == []


def test_sections_that_code_names_exist() -> None:
    missing = []
    for path in TEXTS:
        for name, number in re.findall(r"docs/(\w+\.md),? (\d+(?:\.\d+)*)", path.read_text(encoding="utf-8")):
            if number not in sections(name):
                missing.append(f"{path.relative_to(ROOT)}: docs/{name} {number}")
    assert missing == []


def test_pages_that_code_names_exist() -> None:
    named = {name for path in TEXTS for name in re.findall(r"docs/(\w+\.md)", path.read_text(encoding="utf-8"))}
    assert sorted(name for name in named if not (DOCS / name).exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_of_shim_exist(page: Path) -> None:
    dotted = [code for code in inline_code(page) if re.fullmatch(r"shim(\.\w+)+", code)]
    assert [name for name in dotted if not exists(name)] == []


def exists(name: str) -> bool:
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[count:]:
            found = getattr(found, attribute, None)
        return found is not None
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_that_pages_name_exist(page: Path) -> None:
    paths = [
        c for c in inline_code(page) if re.fullmatch(r"(shim|cpp|tests|patches|\.ci)(/[\w.-]+)*/?", c) and "/" in c
    ]
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_pages_name_exist(page: Path) -> None:
    known = FOREIGN.union(*(options_of(command_named(name)) for name in COMMANDS))
    named = {name for code in inline_code(page) for name in re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)}
    assert sorted(named - known) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_its_row(name: str) -> None:
    section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", text("cli.md"), re.MULTILINE | re.DOTALL)
    assert section is not None, f"docs/cli.md has no section {name}"
    rows = "\n".join(line for line in section[1].splitlines() if line.startswith("| `-"))
    documented = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", rows))
    shared = {parameter.opts[0] for parameter in limit_options(click.Command("none")).params}
    assert documented == options_of(command_named(name)) - shared - {"-h", "--help"}


def test_exit_codes_are_those_of_the_errors() -> None:
    rows = re.findall(r"^\| (\d+) \|.*\| `(\w+)` \|$", text("cli.md"), re.MULTILINE)
    classes = {
        cls.__name__: cls.exit_code for cls in errors.ShimError.__subclasses__() if cls.__module__ == "shim.errors"
    }
    assert {name: int(code) for code, name in rows} == classes


def test_every_grade_is_explained() -> None:
    cells = set(table_cells("scan.md", 0))
    assert {str(grade) for grade in Grade} == {
        cell.strip("`") for cell in cells if cell.strip("`") in set(map(str, Grade))
    }


def test_every_finding_is_explained() -> None:
    findings = text("scan.md").partition("## Findings")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", findings, re.MULTILINE)) == FINDING_CODES.keys()


def test_every_refusal_is_explained() -> None:
    cells = [cell for cell in table_cells("patching.md", 0) if cell.startswith("`")]
    explained = {code for cell in cells for code in re.findall(r"`([a-z]+-[a-z-]+)`", cell)}
    assert explained == {*refusal_codes(), *(f"ptxas-{kind}" for kind in FailureKind)}


def refusal_codes() -> Iterator[str]:
    """Constant codes of every `Refusal(code=...)`, and of the helpers that make one."""
    for path in (ROOT / "shim").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id in ("_refuse", "_refusal") and len(node.args) > 1:
                code: ast.expr | None = node.args[1]
            elif node.func.id == "Refusal":
                code = next((keyword.value for keyword in node.keywords if keyword.arg == "code"), None)
            else:
                continue
            if isinstance(code, ast.Constant):
                yield code.value


def test_every_reason_to_refuse_a_file_is_explained() -> None:
    page = text("patching.md")
    starts = set()
    for path in (ROOT / "cpp" / "core").glob("*.cpp"):
        starts |= set(re.findall(r'throw RefusedError\(\s*"([^"]+)"', path.read_text(encoding="utf-8")))
    assert len(starts) > 10
    assert sorted(start for start in starts if f"| {start.strip()}" not in page) == []


def test_limits_are_the_defaults() -> None:
    rows = dict(re.findall(r"\| ([\d,]+(?: GiB)?) \| `--([a-z-]+)` \|$", text("security.md"), re.MULTILINE))
    stated = {option.replace("-", "_"): value for value, option in rows.items()}
    limits = Limits()
    for name, value in stated.items():
        number, _, unit = value.replace(",", "").partition(" ")
        assert int(number) * (1 << 30 if unit else 1) == getattr(limits, name), name
    assert stated.keys() == {"max_members", "max_member_size", "max_total_size", "max_ratio"}
