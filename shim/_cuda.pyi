"""Types of the optional CUDA module (built where nvcc is found)."""

class CudaError(RuntimeError): ...

def selftest(device: int) -> tuple[str, int, int, int, int, int]:
    """(device name, major, minor, image code, binary version, PTX version)."""
