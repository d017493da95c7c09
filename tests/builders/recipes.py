"""Recipe files and installed distributions, as small as they can be."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

GOOD = """\
schema = 1
id = "demo-gate"
title = "Let 12.1 into the kernel that the wheel has"
package = "demo"
versions = ">=1.0,<2"
applies-to = ["installed", "environment"]
targets = ["12.1"]
risk = "low"
why = "The test is for 12.0 alone."
evidence = ["source"]
ends-when = { version = ">=2" }

[[anchor]]
path = "demo/gate.py"
contains = "(12, 0)"

[[superseded]]
path = "demo/gate.py"
contains = "(12, 1)"

[[proof]]
kind = "jit-arch-table"
path = "demo/table.py"
contains = "12.1"

[[action]]
do = "edit-python"
path = "demo/gate.py"
scope = "supported"
find = "cap == (12, 0)"
replace = "cap[0] == 12"
gate = "positive"

[test]
published = ["1.5"]
outside = ["2.0"]
"""

GATE = """\
def supported(cap):
    # exact, for no reason
    return cap == (12, 0)  # noqa
"""

FILES = {"demo/__init__.py": "", "demo/gate.py": GATE, "demo/table.py": "ARCHS = ['9.0', '12.1']\n"}


def write_recipe(folder: Path, text: str = GOOD, name: str = "demo-gate") -> Path:
    """A recipe file in a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def install(
    prefix: Path, files: Mapping[str, str | bytes] = FILES, *, name: str = "demo", version: str = "1.5"
) -> Path:
    """A distribution as pip leaves it; returns its site-packages."""
    site = prefix / "lib/python3.12/site-packages"
    info = f"{name}-{version}.dist-info"
    everything = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/INSTALLER": "pip\n",
    }
    rows = []
    for path, content in everything.items():
        data = content.encode() if isinstance(content, str) else content
        place = site / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        rows.append(f"{path},sha256={digest},{len(data)}")
    record = "\n".join([*rows, f"{info}/RECORD,,", ""])
    (site / info / "RECORD").write_text(record, encoding="utf-8")
    return site


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and bytes of every file below a folder; links by where they point."""
    return {
        path.relative_to(folder).as_posix(): (
            (0, str(path.readlink()).encode())
            if path.is_symlink()
            else (path.stat().st_mode & 0o7777, path.read_bytes())
        )
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def record_faults(site: Path) -> list[str]:
    """What RECORD files under a site-packages say that is not so, and files of packages that they leave out."""
    faults, listed = [], set()
    for record in site.glob("*.dist-info/RECORD"):
        for line in record.read_text(encoding="utf-8").splitlines():
            path, hashed, size = line.rsplit(",", 2)
            listed.add(path)
            if not hashed:
                continue
            data = (site / path).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            if f"sha256={digest}" != hashed or len(data) != int(size):
                faults.append(path)
    found = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    return faults + sorted(path for path in found - listed if not path.endswith(".pyc"))
