"""The JSON of reports: true to its schema, and read back without loss."""

from __future__ import annotations

import dataclasses
import json
from typing import get_type_hints

import jsonschema
import pytest

import shim.model
from shim.arch import Grade, Target
from shim.errors import InputError, UsageError
from shim.model import (
    EnvironmentReport,
    Finding,
    GateNote,
    JitCost,
    KernelNote,
    LibraryReport,
    PatchOutlook,
    Severity,
    Taken,
    Verdict,
    WheelReport,
)
from shim.scan.codec import decode, encode
from shim.scan.document import document, schema_text
from shim.scan.options import ScanOptions
from shim.scan.wheel import scan_wheel
from tests.unit.scan.files import library, sass, text, wheel

SCHEMA = json.loads(schema_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

# schema definition -> the dataclass it describes.
DEFINITIONS = {
    "report": WheelReport,
    "library": LibraryReport,
    "finding": Finding,
    "verdict": Verdict,
    "kernel": KernelNote,
    "gate": GateNote,
    "jit": JitCost,
    "taken": Taken,
    "patch": PatchOutlook,
    "alternative": shim.model.Alternative,
    "environment": EnvironmentReport,
}


@pytest.fixture
def report(tmp_path) -> WheelReport:
    members = {
        "d/lib_cu12.so": library((sass("80"), text("80")), needed=("libcudart.so.12",)),
        "d/lib_cu13.so": library((sass("80", {"a": 9000}), sass("121", {"a": 64})), (sass("90a"),)),
        "d/fa.so": library((sass("90", {"a": 1}), sass("120", {"b": 1})), (text("90", isa="9.4"),)),
    }
    options = ScanOptions(machine="x86_64", kernels=True)
    return scan_wheel(wheel(tmp_path, members, tags="py3-none-manylinux_2_28_aarch64"), options).report


def environment(report: WheelReport) -> EnvironmentReport:
    finding = Finding(code="unreadable", severity=Severity.ERROR, where="x 1", text="t")
    return EnvironmentReport(
        prefix="/e", target=Target(), packages=(report,), distributions=7, from_cache=2, findings=(finding,)
    )


def test_the_schema_is_sound():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_field_is_in_the_schema(name):
    fields = {field.name for field in dataclasses.fields(DEFINITIONS[name])}
    assert set(SCHEMA["$defs"][name]["properties"]) == fields
    assert set(SCHEMA["$defs"][name]["required"]) == fields


def test_enumerations_agree():
    definitions = SCHEMA["$defs"]
    assert set(definitions["grade"]["enum"]) == {str(grade) for grade in Grade}
    assert set(definitions["fits"]["propertyNames"]["enum"]) == {fit.value for fit in shim.model.Fit}
    assert set(definitions["severity"]["enum"]) == {severity.value for severity in Severity}
    assert set(definitions["report"]["properties"]["subject"]["enum"]) == {s.value for s in shim.model.Subject}


def test_documents_are_valid(report):
    errors = [("nosuch.whl", InputError("gone", hint="look")), ("x y", UsageError("bad"))]
    made = document([report], [environment(report)], errors, exit_code=3)
    VALIDATOR.validate(json.loads(json.dumps(made)))
    assert made["reports"][0]["verdict"]["grade"] == "partial"
    assert made["errors"] == [
        {"target": "nosuch.whl", "kind": "InputError", "exit_code": 3, "message": "gone", "hint": "look"},
        {"target": "x y", "kind": "UsageError", "exit_code": 2, "message": "bad", "hint": ""},
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["schema_version"], 2),
        (["reports", 0, "verdict", "grade"], "good"),
        (["reports", 0, "libraries", 0, "fits", "jit"], 0),
        (["reports", 0, "libraries", 0, "sass"], ["sm_80"]),
        (["reports", 0, "size"], None),
        (["reports", 0, "findings", 0, "code"], "Not Kebab"),
    ],
)
def test_the_schema_refuses(report, path, value):
    made = json.loads(json.dumps(document([report], [], [], exit_code=0)))
    place = made
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(made)


def test_round_trip(report):
    assert report.libraries[0].alternative is not None
    assert report.libraries[0].kernels
    for value in (report, environment(report)):
        assert decode(type(value), json.loads(json.dumps(encode(value)))) == value


@pytest.mark.parametrize(
    "damage",
    [
        {"size": "big"},
        {"libraries": None},
        {"verdict": {}},
        {"findings": [{"code": "x"}]},
        {"subject": "thing"},
        {"timings": {"read": "x"}},
    ],
)
def test_other_shapes_are_refused(report, damage):
    with pytest.raises(InputError, match="expected the JSON form of WheelReport"):
        decode(WheelReport, {**encode(report), **damage})


def test_only_known_values_have_a_form():
    with pytest.raises(TypeError, match="no JSON form for set"):
        encode({1, 2})


def test_annotations_can_be_resolved():
    # `decode` relies on it.
    for kind in DEFINITIONS.values():
        assert get_type_hints(kind)
