"""The rule for layouts, and the sizes it is applied to."""

from __future__ import annotations

import pytest
from builders.planned import ENTRY, image, images, library

from shim.planning import Layout, Packing, Slim, Wanted, choose_layout, plan_library
from shim.planning.layout import LayoutChoice, fallbacks
from shim.planning.packing import packs_of, zstd_level
from shim.planning.sizes import HEADER, dropped_size, layout_for

MB = 1 << 20


@pytest.mark.parametrize(
    ("section", "arena", "dead", "program", "layout"),
    [
        (50 * MB, 50 * MB, 50 * MB, False, Layout.REPACK),
        (50 * MB, 50 * MB, 50 * MB, True, Layout.REPACK),
        (50 * MB, 51 * MB, 50 * MB, False, Layout.MOVE),
        (50 * MB, 51 * MB, 50 * MB, True, Layout.APPEND),
        (50 * MB, 51 * MB, 5 * MB, False, Layout.APPEND),  # 5 % of the file
        (0, 51 * MB, 50 * MB, False, Layout.APPEND),  # no section of that name
    ],
)
def test_rule(section: int, arena: int, dead: int, program: bool, layout: Layout) -> None:
    sizes = {"file_size": 100 * MB, "section_size": section, "arena_size": arena, "dead_size": dead}
    assert choose_layout(asked=None, program=program, **sizes).layout is layout
    assert choose_layout(asked=Layout.APPEND, program=program, **sizes).layout is Layout.APPEND


def test_fallbacks_end_with_what_asks_least() -> None:
    repack = LayoutChoice(layout=Layout.REPACK, why="")
    assert fallbacks(repack, asked=None, program=False) == (Layout.MOVE, Layout.APPEND)
    assert fallbacks(repack, asked=None, program=True) == (Layout.APPEND,)
    assert fallbacks(repack, asked=Layout.REPACK, program=False) == ()
    assert fallbacks(LayoutChoice(layout=Layout.APPEND, why=""), asked=None, program=False) == ()


def test_real_sizes_decide() -> None:
    """A new image that is larger than what was left out does not fit; one that is smaller does."""
    code = library(images("sm_80", "compute_80"), images("sm_121"))
    container = code.containers[0]
    assert layout_for(code, {0: container.size}, Wanted()).layout is Layout.REPACK
    assert layout_for(code, {0: container.size + 256}, Wanted()).layout is Layout.APPEND


def test_expectation_of_slimming_is_repacking() -> None:
    plan = plan_library(library(images("sm_80", "sm_90", "compute_80")), Wanted(slim=Slim.KEEP_PTX))
    assert plan.layout.layout is Layout.REPACK
    assert plan_library(library(images("sm_80", "compute_80")), Wanted()).layout.layout is Layout.APPEND


def test_entries_compressed_together_count_once() -> None:
    code = library((image("sm_70", group=1), image("sm_75", group=1), image("sm_80")))
    assert dropped_size(code.containers[0], (0, 1, 2)) == 2 * ENTRY
    assert code.containers[0].size == HEADER + 2 * ENTRY


@pytest.mark.parametrize(("cuda", "level"), [((12, 3), None), ((12, 4), 5), ((13, 0), 5)])
def test_zstd_only_where_the_driver_reads_it(cuda: tuple[int, int], level: int | None) -> None:
    from shim.arch import Target

    wanted = Wanted(targets=(Target(), Target(driver_cuda=cuda)), repack_old=True)
    assert zstd_level(wanted) == level
    assert bool(packs_of(images("sm_80"), (), wanted)) == (level is not None)


def test_packs_are_kept_stored_code_and_text() -> None:
    held = (*images("sm_80", "compute_80", "lto_80", "tile_120", "sm_121"), image("sm_90", group=1))
    assert packs_of(held, (4,), Wanted(repack_old=True)) == {0, 1}
    assert packs_of(held, (), Wanted()) == set()
    assert packs_of(held, (), Wanted(repack_old=True, packing=Packing.NONE)) == set()
    assert zstd_level(Wanted(packing=Packing.SIZE)) == 19
