"""The loader and the JSON schema agree on what a recipe looks like; only the loader knows the rules across keys."""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from builders.recipes import GOOD

import shim.recipes
from shim.recipes.load import load_recipes, shipped_folder
from shim.recipes.parse import parse_recipe

SCHEMA = json.loads((Path(shim.recipes.__file__).parent / "recipe.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

FULL = (
    GOOD.replace('applies-to = ["installed", "environment"]', 'applies-to = ["sdist"]').replace(
        'kind = "jit-arch-table"\npath = "demo/table.py"\ncontains = "12.1"', 'kind = "source"\nwhy = "x"'
    )
    + """\
shape-only = false
filename = "manylinux aarch64"
python = "3.12"

[[superseded]]
path = "setup.py"
lacks = "sm_120"

[[anchor]]
path = "**/*.cu"
pattern = "sm_1[02]0"
occurrences = 2
count = 3
sha256 = ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]

[[proof]]
kind = "kernel"
member = "demo/*.so"
name = "^_Z4gemm"
arch = "sm_121a"

[[proof]]
kind = "jit-arch-table"
path = "demo/table.py"
pattern = "12\\\\.1"

[[proof]]
kind = "dependency"
distribution = "torch"
versions = ">=2.15"
library = "torch/lib/libtorch_cuda.so"
contains = "sm50-sm121"

[[proof]]
kind = "not-a-gate"
why = "text"

[[action]]
do = "append-python"
path = "setup.py"
scope = "A.b"
target = "self.archs"
add = "'12.1'"
count = 2
gate = "none"

[[action]]
do = "replace-text"
path = "a.txt"
find = "x"
replace = ""
gate = "none"

[[action]]
do = "set-arch-list"
path = "CMakeLists.txt"
variable = "CMAKE_CUDA_ARCHITECTURES"
value = "{archs}"

[[action]]
do = "build-env"
set = { FORCE_CUDA = "1", LIST = "{torch_archs}" }

[[action]]
do = "cmake-overlay"
module = "select_compute_arch.cmake"
path = "cmake/select_compute_arch.cmake"

[[action]]
do = "toolchain"
tool = "ptxas"
version = "12.9.86"
variable = "TRITON_PTXAS_PATH"
"""
)


def verdicts(data: dict) -> tuple[bool, bool]:
    """What the loader and the schema say of the shape."""
    recipe, _ = parse_recipe(data, Path("demo-gate.toml"))
    return recipe is not None, VALIDATOR.is_valid(data)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", [GOOD, FULL])
def test_both_take_a_good_recipe(text: str) -> None:
    assert verdicts(tomllib.loads(text)) == (True, True)


def places(value: object, at: tuple = ()) -> list[tuple]:
    """Every key path of a document."""
    found = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        found += [(*at, key), *places(below, (*at, key))]
    return found


def changed(data: dict, place: tuple, change) -> dict:
    copied = copy.deepcopy(data)
    holder = copied
    for key in place[:-1]:
        holder = holder[key]
    change(holder, place[-1])
    return copied


def put(value: object):
    def change(holder, key) -> None:
        holder[key] = value

    return change


def drop(holder, key) -> None:
    del holder[key]


def rename(holder, key) -> None:
    if isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    else:
        holder[key] = {"x": 1}


CHANGES = {
    "dropped": drop,
    "renamed": rename,
    "a number": put(-7),
    "true": put(True),
    "empty text": put(""),
    "blank": put("  \n"),
    "an empty list": put([]),
    "an empty table": put({}),
    "a list of numbers": put([1]),
    "text with a bad path": put("../x"),
    "a date": put(tomllib.loads("x = 1979-05-27")["x"]),
}


@pytest.mark.parametrize("text", [GOOD, FULL], ids=["good", "full"])
@pytest.mark.parametrize("kind", CHANGES)
def test_both_see_the_same_in_every_changed_key(text: str, kind: str) -> None:
    data = tomllib.loads(text)
    differing = []
    for place in places(data):
        broken = changed(data, place, CHANGES[kind])
        loader, schema = verdicts(broken)
        if loader != schema and not (schema and across_keys(broken)):
            differing.append((place, "loader takes it" if loader else "schema takes it"))
    assert differing == []


def across_keys(data: dict) -> bool:
    """Whether the loader's faults are all of the kind that a schema cannot state."""
    _, faults = parse_recipe(data, Path("demo-gate.toml"))
    words = (
        *(
            "lies outside of",
            "lies within",
            "not a version",
            "positive gate",
            "for installed",
            "for sdist",
            "for wheel",
        ),
        *("only where the package is used", "only a rebuild", "expected at least one: a recipe", "equals find"),
        *("name of the file", "not a regular expression", "such an action", "never removed"),
    )
    return all(any(word in fault for word in words) for fault in faults)


def test_shipped_recipes_load_and_meet_the_schema() -> None:
    load_recipes()
    for path in shipped_folder().rglob("*.toml"):
        faults = [error.message for error in VALIDATOR.iter_errors(tomllib.loads(path.read_text(encoding="utf-8")))]
        assert faults == [], path
