"""Wheels as zip archives: read without trust, checked, rewritten with raw copies, and put back.

Reading: `archive` (members as streams), `limits`, `hashing`, `record`, `metadata`, `name`.
Writing: `writer` (a new wheel from an old one), `deflate`, `splice` (large members changed in a few places).
Going back: `delta` (reverse data), `undo`. The other modules serve these.
"""
