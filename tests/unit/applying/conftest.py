"""What the tests of the stages share."""

from __future__ import annotations

import tempfile

import pytest

from shim.store import ContentStore


@pytest.fixture
def store(tmp_path) -> ContentStore:
    return ContentStore(tmp_path / "store")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Every temporary file goes where the tests can see it, and none may be left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []
