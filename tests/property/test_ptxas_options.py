"""Any option text gives either a refusal or words that ptxas takes for options, never for files."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from shim.applying.ptxas_options import replayed
from shim.errors import InputError

HOSTILE = """-o --output-file -optf --input-as-string -I/etc @x x.ptx /etc/passwd ,-o,x = -- ' " \\
             -w -v -O2 -O -maxrregcount -maxrregcount=96 -c --arch=sm_80 -dlcm=cg -g -split-compile 4"""
words = st.one_of(st.sampled_from(HOSTILE.split()), st.text(max_size=8))
texts = st.one_of(st.text(max_size=60), st.lists(words, max_size=8).map(" ".join))
SAFE = re.compile(r"--[A-Za-z][A-Za-z-]*(=[A-Za-z0-9,]+)?")
FILES = {"--output-file", "--options-file", "--input-as-string", "--gpu-name"}


@given(texts)
def test_nothing_but_options_comes_out(text):
    try:
        options = replayed(text)
    except InputError:
        return
    for option in options:
        assert SAFE.fullmatch(option)
        assert option.partition("=")[0] not in FILES


@given(texts)
def test_replaying_twice_changes_nothing(text):
    try:
        options = replayed(text)
    except InputError:
        return
    assert replayed(" ".join(options)) == options
