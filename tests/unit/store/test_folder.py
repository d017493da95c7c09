"""Where the cache folder is, and when it is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shim.errors import InputError
from shim.store import cache_root, private_folder


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SHIM_CACHE_DIR": "/a/b", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/a/b"),
        ({"SHIM_CACHE_DIR": "", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/shim"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/shim"),
        ({"HOME": "/h"}, "/h/.cache/shim"),
    ],
)
def test_root(environ, expected):
    assert cache_root(environ) == Path(expected)


def test_a_relative_choice_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cache_root({"SHIM_CACHE_DIR": "c"}) == tmp_path / "c"


def test_the_present_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("SHIM_CACHE_DIR", "/chosen")
    assert cache_root() == Path("/chosen")


def test_no_home():
    with pytest.raises(InputError, match="neither XDG_CACHE_HOME nor HOME") as caught:
        cache_root({})
    assert "SHIM_CACHE_DIR" in caught.value.hint


def test_folders_are_made_for_the_user_alone(tmp_path):
    before = os.umask(0)
    try:
        made = private_folder(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (made, made.parent)] == [0o700, 0o700]
    assert private_folder(made) == made


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_folder_others_can_write_to_is_refused(tmp_path, mode):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(InputError, match="others may write") as caught:
        private_folder(folder)
    assert f"chmod go-w {folder}" in caught.value.hint


def test_a_folder_others_can_read_is_taken(tmp_path):
    folder = tmp_path / "readable"
    folder.mkdir(mode=0o755)
    assert private_folder(folder) == folder


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(InputError, match="is not a folder"):
        private_folder(tmp_path / "link")


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is not a folder"):
        private_folder(tmp_path / "file")
    with pytest.raises(InputError, match="cannot make the cache folder"):
        private_folder(tmp_path / "file" / "below")


def test_another_users_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(InputError, match=f"belongs to user {tmp_path.stat().st_uid}, not to you"):
        private_folder(tmp_path)
