"""Shape only: written for the test. A ladder of names that ends in an error."""


def sageattn(q, arch):
    if arch == "sm80":
        return "fp16", q
    if arch == "sm90":
        return "wgmma", q
    if arch == "sm120":
        return "fp8", q
    raise ValueError(f"Unsupported CUDA architecture: {arch}")
