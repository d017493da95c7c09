"""Files shim keeps between runs (the cache folder and the content store in it), and those it works on."""

from shim.store.cas import ContentStore, Entry, Pruned, make_key
from shim.store.folder import cache_root, private_folder
from shim.store.unfinished import temporary_file, work_folder

__all__ = [
    "ContentStore",
    "Entry",
    "Pruned",
    "cache_root",
    "make_key",
    "private_folder",
    "temporary_file",
    "work_folder",
]
