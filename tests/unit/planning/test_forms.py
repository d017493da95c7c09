"""Code in other forms than registered containers: what the plan says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shim.planning import Layout, Wanted, plan_library
from tests.unit.scan.make import library, loose

WANTED = Wanted()


def file_of(text: str, **fields: str):
    return library(f"file: {text}", format="fatbin", elf_type="", machine="", member="k.fatbin", **fields)


def test_fatbin_files_are_compiled_and_rewritten() -> None:
    plan = plan_library(file_of("sm_80, compute_80"), WANTED)
    (step,) = plan.steps
    assert (step.wrappers, [make.arch for make in step.makes]) == ((), ["sm_121"])
    assert plan.refusals == ()
    assert plan.layout.layout is Layout.REPACK


def test_another_layout_cannot_be_asked_of_a_fatbin_file() -> None:
    assert plan_library(file_of("compute_80"), Wanted(layout=Layout.APPEND)).layout.layout is Layout.REPACK


def test_relocatable_fatbin_files_are_refused() -> None:
    code = file_of("compute_80")
    one = code.containers[0]
    images = tuple(replace(image, options="--compile-only") for image in one.images)
    changed = replace(one, images=images)
    code = replace(code, containers=[changed], groups=(replace(code.groups[0], exemplar=changed),))
    plan = plan_library(code, WANTED)
    assert [refusal.code for refusal in plan.refusals] == ["relocatable-file"]


@pytest.mark.parametrize(
    ("images", "form", "code"),
    [
        (["compute_80"], "ptx", "ptx-file"),
        (["sm_80"], "cubin", "cubin-file"),
        (["sm_120 cu12"], "cubin", "unproven-without-ptx"),
        (["compute_80"], "elf", "embedded-image"),
    ],
)
def test_loose_code_is_refused_with_a_reason(images: list[str], form: str, code: str) -> None:
    plan = plan_library(loose(*images, format=form, elf_type="dyn" if form == "elf" else ""), WANTED)
    (refusal,) = plan.refusals
    assert (refusal.code, refusal.container, plan.steps) == (code, None, ())
    assert refusal.reason
    assert refusal.advice


def test_a_set_with_a_cubin_that_loads_wants_nothing() -> None:
    assert plan_library(loose("sm_80", "sm_90a", "sm_121", format="cubin", elf_type=""), WANTED).refusals == ()


def test_thousands_of_cubins_are_one_refusal() -> None:
    plan = plan_library(loose(*["sm_80"] * 5000, format="cubin", elf_type=""), WANTED)
    (refusal,) = plan.refusals
    assert "5,000 files of sm_80" in refusal.reason


def test_embedded_containers_are_told_also_where_nothing_is_wanted() -> None:
    plan = plan_library(library((300, "embedded: sm_120"), "sm_121"), WANTED)
    assert (plan.steps, plan.refusals) == ((), ())
    assert plan.notes == ("300 containers without a wrapper (.nv_fatbin): loaded by the library itself, never changed",)


def test_embedded_containers_are_never_rewritten() -> None:
    plan = plan_library(library("embedded: sm_80, compute_80"), WANTED)
    assert plan.steps == ()
    assert [refusal.code for refusal in plan.refusals] == ["embedded-container"]
    assert plan.notes == ()


def test_embedded_code_that_is_only_unproven_is_advice() -> None:
    plan = plan_library(library("embedded: sm_120 cu12"), WANTED)
    assert [refusal.code for refusal in plan.refusals] == ["unproven-without-ptx"]
