"""Which ptxas and nvlink are taken."""

from __future__ import annotations

import pytest

from shim.errors import ToolError
from shim.toolchain import Survey, ToolStore, ask_version, choose_nvlink, choose_ptxas
from shim.toolchain import choose as module
from tests.builders import kernels
from tests.builders.fake_tools import banner, fake_ptxas, fake_wheel, program

ISAS = {"12.9.86": "8.0 8.8", "13.0.88": "8.0 8.8 9.0", "13.2.86": "8.0 9.0 9.2", "14.0.1": "8.0 9.0 9.2 9.9"}


@pytest.fixture
def present(tmp_path):
    """Makes a survey of tools of these versions, each from the origin given."""

    def make(*wanted: tuple[str, str]) -> Survey:
        tools = []
        for number, (version, origin) in enumerate(wanted):
            path = fake_ptxas(tmp_path / str(number) / "ptxas", version, isas=ISAS[version])
            tools.append(ask_version(path, name="ptxas", origin=origin))
        return Survey(tools=tuple(tools), broken=("/x/ptxas (from PATH): it is broken",))

    return make


@pytest.fixture
def empty(tmp_path, monkeypatch) -> ToolStore:
    monkeypatch.setenv("SHIM_OFFLINE", "1")
    return ToolStore(tmp_path / "store", pins=())


def test_the_oldest_of_the_drivers_major(present, empty):
    found = present(("14.0.1", "PATH"), ("13.2.86", "PATH"), ("12.9.86", "conda"), ("13.0.88", "standard"))
    assert choose_ptxas((8, 0), "sm_121", found=found, store=empty).version == (13, 0, 88)
    assert choose_ptxas((9, 2), "sm_121", found=found, store=empty).version == (13, 2, 86)
    assert choose_ptxas((8, 0), "sm_121", found=found, store=empty, driver_major=12).version == (12, 9, 86)
    assert choose_ptxas((9, 9), "sm_121", found=found, store=empty, driver_major=14).version == (14, 0, 1)


def test_equal_versions_keep_the_order_of_preference(present, empty):
    found = present(("13.0.88", "CUDA_HOME"), ("13.0.88", "PATH"))
    assert choose_ptxas((8, 0), "sm_121", found=found, store=empty).origin == "CUDA_HOME"


def test_a_home_set_for_shim_wins_when_it_suits(present, empty):
    found = present(("13.2.86", "SHIM_CUDA_HOME"), ("13.0.88", "PATH"))
    assert choose_ptxas((9, 0), "sm_121", found=found, store=empty).version == (13, 2, 86)
    assert choose_ptxas((8, 8), "sm_121", found=found, store=empty).version == (13, 0, 88)


def test_an_older_major_is_better_than_nothing(present, empty):
    found = present(("12.9.86", "PATH"))
    assert choose_ptxas((8, 8), "sm_121", found=found, store=empty).version == (12, 9, 86)


def test_a_newer_major_is_never_taken(present, empty):
    with pytest.raises(ToolError) as caught:
        choose_ptxas((8, 0), "sm_121", found=present(("14.0.1", "PATH")), store=empty)
    assert "newer than the driver's CUDA 13" in caught.value.message


def test_nothing_suits_and_all_reasons_are_told(present, empty):
    with pytest.raises(ToolError) as caught:
        choose_ptxas((9, 4), "sm_121", found=present(("13.0.88", "PATH")), store=empty)
    message = caught.value.message
    assert message.startswith("no ptxas takes PTX 9.4 for sm_121:\n")
    assert "Unsupported .version 9.4; current version is '9.0'" in message
    assert "/x/ptxas (from PATH): it is broken" in message
    assert "--ptxas" in caught.value.hint


def test_an_explicit_one_is_used_or_refused(present, empty, tmp_path):
    mine = fake_ptxas(tmp_path / "mine", "14.0.1", isas=ISAS["14.0.1"])
    found = present(("13.0.88", "PATH"))
    assert choose_ptxas((8, 0), "sm_121", explicit=mine, found=found, store=empty).path == mine
    with pytest.raises(ToolError, match=r"does not take PTX 8\.8 for sm_121: .*Unsupported \.version 8\.8"):
        choose_ptxas((8, 8), "sm_121", explicit=mine, found=found, store=empty)


@pytest.fixture
def stocked(tmp_path, monkeypatch) -> ToolStore:
    """A store whose pins can be fetched from a local folder."""
    index = tmp_path / "index"
    made = [
        fake_wheel(index, version=version, isa=isa)[1]
        for version, isa in (("13.5.37", "9.5"), ("13.2.86", "9.2"), ("12.9.86", "8.8"))
    ]
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("SHIM_OFFLINE", raising=False)
    return ToolStore(tmp_path / "store", pins=tuple(made), machine="x86_64")


def test_the_oldest_wheel_that_suits_is_fetched(present, stocked):
    tool = choose_ptxas((9, 2), "sm_121", found=present(("13.0.88", "PATH")), store=stocked)
    assert (tool.version, tool.origin) == ((13, 2, 86), "store")


def test_a_tool_that_is_here_is_not_fetched(present, stocked):
    choose_ptxas((9, 0), "sm_121", found=present(("13.0.88", "PATH")), store=stocked)
    assert not stocked.root.exists()


def test_a_fetched_tool_takes_part_the_next_time(present, stocked, monkeypatch):
    first = choose_ptxas((9, 2), "sm_121", found=present(), store=stocked)
    monkeypatch.setenv("SHIM_OFFLINE", "1")
    assert choose_ptxas((9, 2), "sm_121", found=present(), store=stocked) == first


def test_the_drivers_major_is_fetched_before_an_older_one_is_used(present, stocked, monkeypatch):
    found = present(("12.9.86", "PATH"))
    assert choose_ptxas((8, 0), "sm_121", found=found, store=stocked).version == (13, 2, 86)


def test_offline_names_what_to_install(present, stocked):
    with pytest.raises(ToolError, match="SHIM_OFFLINE forbids fetching") as caught:
        choose_ptxas((9, 2), "sm_121", found=present(("13.0.88", "PATH")), store=stocked, offline=True)
    assert caught.value.exit_code == 6
    assert "pip install 'shim-fake-nvcc==13.2.86'" in caught.value.hint


def test_a_pin_that_promises_too_much(present, stocked):
    """The wheel says PTX 9.2, the ptxas in it takes no sm_100."""
    with pytest.raises(ToolError, match="'sm_100' is not defined"):
        choose_ptxas((9, 2), "sm_100", found=present(), store=stocked)


def test_a_real_choice_is_of_cuda_13():
    assert choose_ptxas((8, 0), "sm_121").version[0] == 13


def fake_nvlink(path, version):
    program(path, f"#!/bin/sh\ncat <<'END'\n{banner(version, 'nvlink')}END\n")
    return ask_version(path, name="nvlink", origin="PATH")


@pytest.fixture
def linkers(tmp_path, monkeypatch):
    """Replaces the survey of nvlink."""

    def make(*wanted: tuple[str, str]) -> None:
        tools = tuple(fake_nvlink(tmp_path / folder / "nvlink", version) for folder, version in wanted)
        monkeypatch.setattr(module, "survey", lambda name: Survey(tools=tools, broken=()))
        monkeypatch.setenv("SHIM_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("SHIM_OFFLINE", "1")

    return make


def test_the_nvlink_beside_the_ptxas(tmp_path, linkers):
    ptxas = ask_version(fake_ptxas(tmp_path / "b" / "ptxas", "13.2.86"), name="ptxas", origin="x")
    linkers(("a", "13.2.86"), ("b", "13.2.86"))
    assert choose_nvlink(ptxas).path == tmp_path / "b" / "nvlink"


def test_else_the_oldest_that_is_not_older(tmp_path, linkers):
    ptxas = ask_version(fake_ptxas(tmp_path / "b" / "ptxas", "13.2.86"), name="ptxas", origin="x")
    linkers(("a", "13.5.37"), ("c", "13.3.1"), ("d", "13.0.88"), ("e", "14.0.1"))
    assert choose_nvlink(ptxas).version == (13, 3, 1)


def test_no_nvlink(tmp_path, linkers):
    ptxas = ask_version(fake_ptxas(tmp_path / "b" / "ptxas", "13.2.86"), name="ptxas", origin="x")
    linkers(("d", "13.0.88"))
    with pytest.raises(ToolError, match="SHIM_OFFLINE forbids fetching"):
        choose_nvlink(ptxas)
    newest = ask_version(fake_ptxas(tmp_path / "n" / "ptxas", "13.9.1"), name="ptxas", origin="x")
    with pytest.raises(ToolError, match=r"no nvlink for the output of ptxas 13\.9\.1") as caught:
        choose_nvlink(newest)
    assert "at least 13.9.1" in caught.value.hint


def test_an_explicit_nvlink(tmp_path):
    mine = fake_nvlink(tmp_path / "nvlink", "13.0.88")
    assert choose_nvlink(kernels.tool("ptxas"), explicit=mine.path).origin == "--nvlink"
