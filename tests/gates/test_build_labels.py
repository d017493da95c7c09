"""Gates of build files against sites that people labelled in published source distributions."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from shim.arch import ComputeCapability
from shim.scan.folder import list_folder
from shim.scan.gates import PackageTree
from shim.scan.index import fetch_sdist
from shim.scan.sdist import unpack
from shim.scan.sources import TreeSource
from shim.source.gates.facts import read_facts
from shim.source.gates.find import find_gates
from shim.wheels.limits import Limits

SPARK = ComputeCapability(12, 1)
SITES = tomllib.loads((Path(__file__).parent / "build_labels.toml").read_text("utf-8"))["site"]
PACKAGES = defaultdict(list)
for _site in SITES:
    PACKAGES[f"{_site['package']}=={_site['version']}"].append(_site)


def test_the_labels_are_sound():
    keys = {"package", "version", "file", "line", "text", "label", "why"}
    assert len(SITES) >= 25
    for site in SITES:
        assert site.keys() - {"effect"} == keys
        assert site["label"] in ("changes", "fine")
        assert ("effect" in site) is (site["label"] == "changes")
    assert len({(site["package"], site["version"], site["file"], site["line"]) for site in SITES}) == len(SITES)


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Fetches and unpacks a source distribution once."""
    known: dict[str, PackageTree] = {}

    def tree(requirement: str) -> PackageTree:
        if requirement not in known:
            folder = tmp_path_factory.mktemp("sdist")
            archive = fetch_sdist(Requirement(requirement), python="3.12", folder=folder)
            assert archive is not None, f"{requirement} is not on the index"
            unpacked = folder / "tree"
            unpacked.mkdir()
            unpack(archive, unpacked, Limits())
            known[requirement] = PackageTree(TreeSource(unpacked, list_folder(unpacked).names))
        return known[requirement]

    return tree


@pytest.mark.real
@pytest.mark.parametrize("requirement", PACKAGES)
def test_sites(requirement, trees):
    tree = trees(requirement)
    changing = {(gate.path, gate.line): gate for gate in find_gates(tree, SPARK) if gate.changes}
    wrong = []
    for site in PACKAGES[requirement]:
        line = tree.read(site["file"]).decode("utf-8", "replace").splitlines()[site["line"] - 1]
        assert site["text"] in line, f"the label is about another line: {line}"
        gate = changing.get((site["file"], site["line"]))
        found = "fine" if gate is None else gate.effect.value
        expected = site.get("effect", "fine")
        if found != expected:
            wrong.append(f"{site['file']}:{site['line']} {site['text']}: expected {expected}, found {found}")
    assert wrong == []


@pytest.mark.real
@pytest.mark.parametrize("requirement", ["causal-conv1d==1.5.2", "implicit==0.4.8", "kage-cucounter==1.0.1"])
def test_every_span_is_the_text_it_names(requirement, trees):
    tree = trees(requirement)
    facts = read_facts(tree)
    mentions = [*facts.archs, *facts.standards, *facts.gpu_checks, *facts.removed_headers, *facts.quirks]
    assert mentions
    for mention in mentions:
        assert tree.read(mention.path)[mention.start : mention.end].decode() == mention.text
