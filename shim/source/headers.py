"""Headers that CUDA 13 (CCCL 3) no longer has.

Only what was checked: absent from the toolkit 13.0, and the other one there in 12 and 13. Seen with implicit 0.4.8
(`cub/iterator/counting_input_iterator.cuh: No such file or directory`).
"""

from __future__ import annotations

from typing import Final

REMOVED: Final = {
    "cub/iterator/constant_input_iterator.cuh": "thrust/iterator/constant_iterator.h",
    "cub/iterator/counting_input_iterator.cuh": "thrust/iterator/counting_iterator.h",
    "cub/iterator/discard_output_iterator.cuh": "thrust/iterator/discard_iterator.h",
    "cub/iterator/transform_input_iterator.cuh": "thrust/iterator/transform_iterator.h",
    "nvToolsExt.h": "nvtx3/nvToolsExt.h",
    "nvToolsExtCuda.h": "nvtx3/nvToolsExtCuda.h",
    "nvToolsExtCudaRt.h": "nvtx3/nvToolsExtCudaRt.h",
    "texture_fetch_functions.h": "",
    "cuda_texture_types.h": "",
}
"""Old header -> new one, "" where there is none."""

MOVED: Final = {old: new for old, new in REMOVED.items() if new}
