"""`retired-arch`: architectures that the toolkit no longer knows stop nvcc; the requested one takes their place.

CUDA 13 removed 5.0 to 7.2 (`nvcc fatal : Unsupported gpu architecture 'compute_53'`), and calls 10.1 now 11.0.
Reported for years: Dao-AILab/causal-conv1d#71, state-spaces/mamba#776.
"""

from __future__ import annotations

from typing import Final

from shim.source.rules.mentions import find_mentions, replace_mentions
from shim.source.rules.model import RuleContext

CODE: Final = "retired-arch"


def edit(path: str, text: bytes, context: RuleContext) -> bytes:
    """Rewrite what nvcc would refuse. Duplicates that this makes are harmless to nvcc (measured with 13.0.88)."""
    changes = [
        (mention, mention.replacement(context.arch))
        for mention in find_mentions(text)
        if mention.arch is not None and mention.arch.capability.sm not in context.known
    ]
    return replace_mentions(text, changes)
