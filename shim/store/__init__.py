"""Files shim keeps between runs: the cache folder and the content store in it."""

from shim.store.cas import ContentStore, Entry, Pruned, make_key
from shim.store.folder import cache_root, private_folder

__all__ = ["ContentStore", "Entry", "Pruned", "cache_root", "make_key", "private_folder"]
