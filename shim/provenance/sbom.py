"""A CycloneDX 1.6 bill of materials for a patched wheel (PEP 770 puts it into `<dist-info>/sboms/`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from packaging.utils import canonicalize_name

FILE = "shim.cdx.json"


def make_sbom(name: str, version: str, document: Mapping[str, Any], tools: Iterable[str]) -> bytes:
    """Describe the original wheel, the files that were changed, and the programs that changed them.

    Args:
        document: the provenance document of the same wheel.
        tools: as in `NewImage.tools`, such as "ptxas 13.0.88".
    """
    purl = f"pkg:pypi/{canonicalize_name(name)}@{version}"
    original = document["original"]
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [_tool(text) for text in ("shim " + document["shim"], *sorted(set(tools)))]},
            "component": {
                "type": "library",
                "bom-ref": purl,
                "name": name,
                "version": version,
                "purl": purl,
                "pedigree": {
                    "ancestors": [
                        {
                            "type": "file",
                            "name": original["filename"],
                            "hashes": [{"alg": "SHA-256", "content": original["sha256"]}],
                        }
                    ],
                    "notes": "The files below were changed; docs and provenance.json say how.",
                },
            },
        },
        "components": [
            {
                "type": "file",
                "name": member["path"],
                "hashes": [{"alg": "SHA-256", "content": member["patched"]["sha256"]}],
            }
            for member in document["members"]
            if "patched" in member
        ]
        + [
            {
                "type": "file",
                "name": member["path"],
                "hashes": [{"alg": "SHA-256", "content": member["after"]}],
            }
            for member in document["edited"]
        ],
    }
    return (json.dumps(bom, indent=2, sort_keys=True) + "\n").encode()


def _tool(text: str) -> dict[str, str]:
    name, _, version = text.partition(" ")
    return {"type": "application", "name": name, "version": version}
