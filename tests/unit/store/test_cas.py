"""The content store: what it keeps, what damage and rivals do to it."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shim.errors import InputError
from shim.store import ContentStore, make_key

KEY = make_key("a key")
OTHER = make_key("another")


@pytest.fixture
def store(tmp_path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def files(store: ContentStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def test_a_value_comes_back(store, tmp_path):
    path = store.put(KEY, b"value")
    assert path.read_bytes() == b"value"
    assert store.read(KEY) == b"value"
    assert store.get(KEY) == path
    source = tmp_path / "source"
    source.write_bytes(b"from a file" * 100_000)
    store.put(OTHER, source)
    assert store.read(OTHER) == source.read_bytes()


def test_an_empty_value_is_a_value(store):
    store.put(KEY, b"")
    assert store.read(KEY) == b""


def test_missing(store):
    assert store.get(KEY) is None
    assert store.read(KEY) is None
    assert list(store.entries()) == []
    assert not store.root.exists(), "looking must not make folders"


def test_the_first_value_stays(store):
    first = store.put(KEY, b"first")
    assert store.put(KEY, b"second") == first
    assert store.read(KEY) == b"first"


def test_nobody_else_can_read_it(store):
    path = store.put(KEY, b"x")
    assert path.stat().st_mode & 0o077 == 0
    assert store.root.stat().st_mode & 0o777 == 0o700


def test_a_folder_open_to_others_is_refused(store):
    store.root.mkdir()
    store.root.chmod(0o777)
    with pytest.raises(InputError, match="others may write"):
        store.put(KEY, b"x")


@pytest.mark.parametrize("key", ["", "a" * 63, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n", "/" + "a" * 63])
def test_a_key_is_a_hash(store, key):
    for call in (store.get, store.read, lambda key: store.put(key, b"")):
        with pytest.raises(InputError, match="not a key"):
            call(key)


@pytest.mark.parametrize("damage", [b"", b"valuf", b"value and more"])
@pytest.mark.parametrize("look", ["get", "read"])
def test_damage_is_a_miss_and_heals(store, damage, look):
    path = store.put(KEY, b"value")
    path.write_bytes(damage)
    assert getattr(store, look)(KEY) is None
    assert not path.exists(), "the damaged value is removed"
    store.put(KEY, b"value")
    assert store.read(KEY) == b"value"


def test_a_link_in_place_of_a_value_is_not_followed(store, tmp_path):
    path = store.put(KEY, b"value")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"value")
    path.unlink()
    path.symlink_to(elsewhere)
    assert store.read(KEY) is None
    assert store.get(KEY) is None


def test_two_different_values_of_one_key_give_a_steady_answer(store):
    """Possible when two processes compile at once with tools that differ without saying so."""
    path = store.put(KEY, b"one")
    two = path.with_name(hashlib.sha256(b"two").hexdigest())
    two.write_bytes(b"two")
    expected = min(path, two).read_bytes()
    assert store.read(KEY) == store.read(KEY) == expected
    min(path, two).write_bytes(b"damaged")
    assert store.read(KEY) == max(path, two).read_bytes()


def test_foreign_files_are_left_alone(store):
    path = store.put(KEY, b"value")
    (path.parent / "README").write_text("x")
    (store.root / "notes").write_text("x")
    (store.root / "ab").mkdir()
    (store.root / "ab" / "cd").write_text("x")
    assert [entry.key for entry in store.entries()] == [KEY]
    store.prune(max_bytes=0)
    assert sorted(path.name for path in files(store)) == ["README", "cd", "notes"]


def test_entries_tell_size_and_last_use(store):
    path = store.put(KEY, b"12345")
    os.utime(path, (1000, 1000))
    (entry,) = store.entries()
    assert (entry.key, entry.path, entry.size, entry.used) == (KEY, path, 5, 1000.0)
    store.read(KEY)
    (entry,) = store.entries()
    assert time.time() - entry.used < 60


def fill(store: ContentStore, ages: dict[str, float], size: int = 10) -> None:
    for name, age in ages.items():
        path = store.put(make_key(name), bytes(size))
        os.utime(path, (time.time() - age, time.time() - age))


def test_prune_by_age(store):
    fill(store, {"old": 1000, "older": 2000, "young": 10})
    pruned = store.prune(max_age=500)
    assert (pruned.removed, pruned.removed_bytes, pruned.kept, pruned.kept_bytes) == (2, 20, 1, 10)
    assert store.read(make_key("young")) is not None
    assert store.read(make_key("old")) is None


def test_prune_by_size_keeps_the_latest_used(store):
    fill(store, {"a": 400, "b": 300, "c": 200, "d": 100})
    store.read(make_key("a"))
    assert store.prune(max_bytes=25).kept == 2
    assert {entry.key for entry in store.entries()} == {make_key("a"), make_key("d")}


def test_prune_without_limits_keeps_all(store):
    fill(store, {"a": 1e7, "b": 0})
    assert store.prune().removed == 0


def test_prune_removes_what_a_killed_process_left(store):
    store.put(KEY, b"x")
    for name, age in (("dead", 7200), ("busy", 5)):
        path = store.root / "new" / name
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age, time.time() - age))
    store.prune()
    assert [path.name for path in (store.root / "new").iterdir()] == ["busy"]


def test_disk_full(store, tmp_path):
    """The file size limit stands for the full disk: both end a write in the middle."""
    store.put(OTHER, b"kept")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(InputError, match="cannot write to the cache") as caught:
            store.put(KEY, bytes(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert isinstance(caught.value.__cause__, OSError)
    assert "SHIM_CACHE_DIR" in caught.value.hint
    assert store.read(KEY) is None
    assert store.read(OTHER) == b"kept"
    assert [path.name for path in files(store)] == [hashlib.sha256(b"kept").hexdigest()]


def test_a_source_that_cannot_be_read_leaves_nothing(store, tmp_path):
    with pytest.raises(InputError):
        store.put(KEY, tmp_path / "missing")
    assert files(store) == []


WRITER = """
import sys
from pathlib import Path
from shim.store import ContentStore, make_key
store = ContentStore(Path(sys.argv[1]))
for turn in range(3):
    for number in range(60):
        value = str(number).encode() * 2000
        store.put(make_key(str(number)), value)
        got = store.read(make_key(str(number)))
        assert got in (None, value), number      # None: the rival has just pruned it
    if sys.argv[2] == 'prune':
        store.prune(max_bytes=50_000)
"""


def start_writer(store: ContentStore, role: str) -> subprocess.Popen:
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.Popen([sys.executable, "-c", WRITER, store.root, role], env=environment, stderr=subprocess.PIPE)


@pytest.mark.parametrize("role", ["write", "prune"])
def test_processes_fill_one_store_at_once(store, role):
    rivals = [start_writer(store, role) for _ in range(3)]
    for rival in rivals:
        _, said = rival.communicate(timeout=120)
        assert rival.returncode == 0, said.decode()
    entries = list(store.entries())
    if role == "write":
        assert len(entries) == 60
    for entry in entries:
        assert hashlib.sha256(entry.path.read_bytes()).hexdigest() == entry.path.name
    assert list((store.root / "new").iterdir()) == []


def test_a_writer_killed_in_the_middle_leaves_no_wrong_value(store):
    rival = start_writer(store, "write")
    while len(list(store.entries())) < 10 and rival.poll() is None:
        time.sleep(0.005)
    rival.kill()
    rival.communicate()
    for number in range(60):
        assert store.read(make_key(str(number))) in (None, str(number).encode() * 2000)
    again = start_writer(store, "write")
    assert again.wait(60) == 0
    again.communicate()
    assert len(list(store.entries())) == 60
