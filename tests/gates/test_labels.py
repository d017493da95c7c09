"""The detector against sites of published packages that were labelled by reading."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from gates.gate_labels import by_line, by_tree, check_texts, packages, score, sources

_SMALL = 120_000_000


def test_the_set_is_large_enough() -> None:
    every = packages()
    assert len({package.name for package in every}) >= 12
    assert sum(len(package.sites) for package in every) >= 250
    assert {site.label for package in every for site in package.sites} == {"changes", "tuning", "none"}
    assert all(site.why for package in every for site in package.sites)
    assert sum(site.changes for package in every for site in package.sites) >= 50


def test_no_site_is_labelled_twice() -> None:
    sites = Counter((package.file, site.path, site.line) for package in packages() for site in package.sites)
    assert max(sites.values()) == 1


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = os.environ.get("SHIM_TEST_CACHE")
    return Path(kept) / "gates" if kept else tmp_path_factory.mktemp("gates")


def measure(cache: Path, largest: int) -> None:
    pairs = [(package, sources(package, cache)) for package in packages() if package.size <= largest]
    assert [wrong for package, files in pairs for wrong in check_texts(package, files)] == []
    tree, line = score(by_tree, pairs), score(by_line, pairs)
    assert tree.precision >= 0.95, tree.wrong
    assert tree.recall >= 0.9, tree.wrong
    assert tree.precision > line.precision
    assert tree.recall > line.recall


@pytest.mark.real
def test_small_packages(cache: Path) -> None:
    measure(cache, _SMALL)


@pytest.mark.real
@pytest.mark.slow
def test_all_packages(cache: Path) -> None:
    measure(cache, 10**10)
