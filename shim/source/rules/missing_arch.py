"""`missing-arch`: lists that leave the target out; the whole list becomes the requested architecture.

Replacing is the default because it is about four times cheaper than adding: causal-conv1d 1.5.2 took 256 CPU seconds
for one architecture and 1,008 for five.
"""

from __future__ import annotations

import re
from typing import Final

from shim.arch import Arch
from shim.source.rules.cmake_lists import replace_lists
from shim.source.rules.mentions import Mention, find_mentions, replace_mentions
from shim.source.rules.model import RuleContext

CODE: Final = "missing-arch"

# os.environ["TORCH_CUDA_ARCH_LIST"] = "8.0 9.0"; os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "8.0")
_TORCH: Final = re.compile(
    rb"(?P<lead>TORCH_CUDA_ARCH_LIST[\"']\s*(?:\]\s*=|,)\s*(?P<quote>[\"']))(?P<list>\d[\d. ;afPTX+]*)(?P=quote)"
)


def edit(path: str, text: bytes, context: RuleContext) -> bytes:
    """Rewrite gencode pairs, -arch flags, CMake's lists and torch's lists.

    Code for one architecture or family of another major (`90a`, `100f`) is left alone: such flags belong to kernels
    that exist for those GPUs only, and would not compile for the target.
    """
    changes = [
        (mention, mention.replacement(wanted))
        for mention in find_mentions(text)
        if (wanted := _wanted(mention, context)) is not None and wanted != mention.arch
    ]
    text = replace_mentions(text, changes)
    if path.endswith((".txt", ".cmake")):
        return replace_lists(text, context)
    if path.endswith(".py"):
        quote_kept = context.torch_list.encode("ascii")
        return _TORCH.sub(lambda match: match["lead"] + quote_kept + match["quote"], text)
    return text


def _wanted(mention: Mention, context: RuleContext) -> Arch | None:
    """What the mention should name, None to leave it."""
    if mention.arch is None or not mention.arch.feature:
        return context.arch
    if mention.arch.capability.major != context.arch.capability.major:
        return None
    return context.arch if context.arch.feature else Arch(context.arch.capability, mention.arch.feature)
