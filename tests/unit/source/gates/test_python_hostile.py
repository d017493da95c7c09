"""Sources that are no sources."""

from __future__ import annotations

import pytest

from shim.arch import ComputeCapability
from shim.source.gates.python import find_python_gates

TARGET = ComputeCapability(12, 1)
HEAD = b"import torch\ncapability = torch.cuda.get_device_capability()\n"


@pytest.mark.parametrize(
    "source",
    [
        b"",
        HEAD + b"if capability == (12, 0\n",
        HEAD + b"\0",
        HEAD + b"x = '\xff\xfe'\n",
        b"# -*- coding: no-such-coding -*-\n" + HEAD,
        HEAD + b"x = " + b"(" * 5000 + b")" * 5000 + b"\n",
        HEAD + b"x = " + b"-" * 50_000 + b"1\n",
        HEAD + b"x = " + b"+".join([b"capability"] * 20_000) + b"\n",
        HEAD + b"x = capability" + b"[0]" * 20_000 + b"\n",
        HEAD + b"if capability == (12, 0):\n  raise E\n" + b"el" * 0 + b"x = 1" + b" if y else 2" * 3000 + b"\n",
        HEAD + b"x = [" + b"(12, 0)," * 100_000 + b"]\nif capability in x:\n    pass\n",
        HEAD + b"x = 'a' * 10**10\nif capability[0] == 10 ** 10 ** 10:\n    pass\n",
        b"\x00" * 100 + HEAD,
    ],
)
def test_no_source_raises(source: bytes) -> None:
    assert all(gate.path == "m.py" for gate in find_python_gates(source, "m.py", TARGET))


def test_recursive_helpers_end() -> None:
    source = (
        HEAD + b"def a(x):\n    return b(x)\ndef b(x):\n    return a(x)\nif a(capability) == (12, 0):\n    raise E\n"
    )
    find_python_gates(source, "m.py", TARGET)


def test_names_that_refer_to_themselves_end() -> None:
    source = HEAD + b"def is_x():\n    return is_x() or capability == (12, 0)\nflag = flag and capability == (12, 0)\n"
    find_python_gates(source, "m.py", TARGET)


def test_files_without_a_word_of_the_trade_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr("ast.parse", fail)
    assert find_python_gates(b"x = 1\n" * 1000, "m.py", TARGET) == ()


def test_warnings_of_the_source_are_not_ours() -> None:
    source = HEAD + b"x = '\\d'\nif capability != (12, 0):\n    raise E\n"
    assert len(find_python_gates(source, "m.py", TARGET)) == 1
