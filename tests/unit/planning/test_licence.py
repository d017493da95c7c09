"""Which files and wheels NVIDIA's licence covers, by each sign of it."""

from __future__ import annotations

import pytest

from shim.planning.licence import distribution_sign, library_sign


@pytest.mark.parametrize(
    "name",
    [
        "nvidia/cufft/lib/libcufft.so.12",
        "libnvrtc-builtins.so.13.0",
        "demo.libs/libcudart-9335f6a2.so.12.4.127",
        "libcudart_static.a",
        "libcudnn_engines_precompiled.so.9",
        "libnccl.so.2",
        "libnvshmem_host.so.3",
        "libcublasLt.so.13",
        "libcuda.so.1",
    ],
)
def test_known_names(name: str) -> None:
    assert "by its name" in library_sign(name, "")


@pytest.mark.parametrize(
    "name", ["libcudart_demo.so", "libmycufft.so", "libtorch_cuda.so", "libcuvs.so", "libcudf.so", "_C.so", ""]
)
def test_other_names(name: str) -> None:
    assert library_sign(name, "libdemo.so.1") == ""


def test_soname_of_a_renamed_library() -> None:
    assert "SONAME libcufft.so.12" in library_sign("demo/fft_backend.so", "libcufft.so.12")


@pytest.mark.parametrize(
    "licence",
    [
        "LicenseRef-NVIDIA-Proprietary",
        "LicenseRef-NVIDIA-SOFTWARE-LICENSE",
        "NVIDIA Proprietary Software",
        "Apache-2.0 AND LicenseRef-NVIDIA-Proprietary",
        "NVIDIA Software License Agreement",
        "Proprietary, see the NVIDIA EULA",
    ],
)
def test_licence_of_the_wheel(licence: str) -> None:
    assert "licence of the whole wheel" in distribution_sign("demo", (licence,))


@pytest.mark.parametrize(
    ("name", "licences", "found"),
    [
        ("nvidia-cufft", (), True),
        ("nvidia-cudnn-cu12", ("", "License :: Other/Proprietary License"), True),
        ("nvidia-cudnn-frontend", ("MIT",), False),
        ("nvidia-modelopt", ("Apache 2.0",), False),
        ("nvidia-odd", ("MIT", "License :: Other/Proprietary License"), True),
        ("demo", ("", "License :: Other/Proprietary License"), False),
        ("demo", ("BSD-3-Clause",), False),
        ("demo", ("a text that thanks NVIDIA", "License :: OSI Approved :: MIT License"), False),
    ],
)
def test_whole_distributions(name: str, licences: tuple[str, ...], found: bool) -> None:
    assert bool(distribution_sign(name, licences)) is found
