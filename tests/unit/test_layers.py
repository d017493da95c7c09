"""Imports point down only (docs/design.md). Read from the syntax trees, so that no import is missed or executed."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import shim

ROOT = Path(shim.__file__).parent
LAYERS = (
    {"errors", "arch", "process", "_core", "_cuda"},
    {"devicecode", "wheels", "store", "model"},
    {"toolchain", "source"},
    {"scan", "planning", "recipes"},
    {"applying", "verifying", "provenance", "device", "building", "warming"},
    {"cli"},
    {"__main__"},
)
LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts != ("__init__",):
            yield parts[0], path


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "shim":
                yield from (f"shim.{alias.name}" for alias in node.names)
            else:
                yield node.module


def own_imports(path: Path) -> Iterator[str]:
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "shim" and len(parts) > 1 and not parts[1].startswith("__"):
            yield parts[1]


def test_every_module_has_a_layer() -> None:
    assert {package for package, _ in modules()} <= LAYER_OF.keys()


def test_imports_point_down() -> None:
    upward = [
        f"{path.relative_to(ROOT)} imports shim.{name}"
        for package, path in modules()
        for name in own_imports(path)
        if name in LAYER_OF and LAYER_OF[name] > LAYER_OF[package]
    ]
    assert upward == []


def test_planning_has_no_effect() -> None:
    forbidden = {"wheels", "store", "toolchain", "process", "applying", "verifying", "provenance"}
    for package, path in modules():
        if package == "planning":
            assert forbidden.isdisjoint(own_imports(path)), path


def test_only_the_core_is_binary_and_optional_cuda_stays_apart() -> None:
    users = {str(path.relative_to(ROOT)) for _, path in modules() if "_cuda" in set(own_imports(path))}
    assert users == {"device/selftest.py"}


def module_name(path: Path) -> str:
    parts = ("shim", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_module_imports_itself_through_others() -> None:
    paths = {module_name(path): path for _, path in modules()}
    graph = {name: {target for target in imported(path) if target in paths} for name, path in paths.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_every_package_is_listed_for_the_wheel() -> None:
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))
    found = {".".join(("shim", *path.parent.relative_to(ROOT).parts)) for path in ROOT.rglob("__init__.py")}
    assert set(project["tool"]["setuptools"]["packages"]) == found | {"shim.patches"}
