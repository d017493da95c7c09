"""Matching, proofs, order and the pure application of recipes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
from builders.recipes import FILES, GATE, GOOD, write_recipe

from shim.arch import ComputeCapability, Target
from shim.errors import InputError, RecipeError
from shim.model import KernelNote
from shim.recipes.applied import is_applied
from shim.recipes.apply import build_environment, edit, edit_all, placeholders
from shim.recipes.load import load_recipe
from shim.recipes.match import match
from shim.recipes.model import AppliesTo, Recipe
from shim.recipes.order import in_order
from shim.source.overlay import EditedTree

TARGET = Target()
TABLE = 'kind = "jit-arch-table"\npath = "demo/table.py"\ncontains = "12.1"'
KERNEL = 'kind = "kernel"\nmember = "demo/*.so"\nname = "^_Z4gemm"\narch = "loads-on-target"'


class Files:
    """A tree in memory."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def names(self) -> Collection[str]:
        return list(self.files)

    def read(self, name: str) -> bytes:
        if name not in self.files:
            raise InputError(name)
        return self.files[name].encode()


class Facts:
    """A proof source that knows what it is told."""

    def __init__(self, *kernels: KernelNote, versions: dict[str, str] | None = None, text: str = "") -> None:
        self._kernels = kernels
        self._versions = versions or {}
        self._text = text

    def kernels(self, member: str):
        return self._kernels

    def installed_version(self, distribution: str) -> str | None:
        return self._versions.get(distribution)

    def installed_contains(self, distribution: str, path: str, text: str) -> bool:
        return text in self._text


def kernel(name: str = "_Z4gemmv", status: str = "ok", size: int | None = 900) -> KernelNote:
    return KernelNote(name=name, container=0, images=("sm_120",), status=status, size=size, largest=900)


@pytest.fixture
def make(tmp_path: Path):
    def build(*changes: tuple[str, str], identity: str = "demo-gate") -> Recipe:
        text = GOOD.replace("demo-gate", identity)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        return load_recipe(write_recipe(tmp_path, text, identity))

    return build


def judge(recipe: Recipe, files: dict[str, str] | None = None, facts: Facts | None = None, **options):
    values = {"package": "demo", "version": "1.5", "kind": AppliesTo.INSTALLED, "target": TARGET, **options}
    return match([recipe], tree=Files(FILES if files is None else files), proofs=facts, **values)  # type: ignore[arg-type]


def test_it_applies(make) -> None:
    found = judge(make())
    assert [(one.recipe.id, one.state, one.why) for one in found] == [
        ("demo-gate", "applies", "demo/table.py has '12.1'")
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"package": "demos"},
        {"version": "2.0"},
        {"version": "0.9"},
        {"version": "not-a-version"},
        {"kind": AppliesTo.WHEEL},
        {"target": Target(device=ComputeCapability(10, 0))},
    ],
)
def test_what_does_not_fit_is_left_out(make, options: dict) -> None:
    assert judge(make(), **options) == ()


@pytest.mark.parametrize("options", [{"package": "De.Mo"}, {"version": "1.5+cu130"}, {"version": "1.9rc1"}])
def test_spellings_and_local_versions_fit(make, options: dict) -> None:
    recipe = make(('package = "demo"', 'package = ["demo", "de-mo"]'))
    assert [one.state for one in judge(recipe, **options)] == ["applies"]


def test_states(make) -> None:
    recipe = make()
    widened = {**FILES, "demo/gate.py": GATE.replace("(12, 0)", "(12, 1)")}
    assert judge(recipe, widened)[0].state == "superseded"
    applied = EditedTree(Files(FILES), {}).with_edits(edit(recipe, Files(FILES)))
    state = match(
        [recipe], package="demo", version="1.5", kind=AppliesTo.INSTALLED, target=TARGET, tree=applied, proofs=None
    )[0].state
    assert state == "applied-already"
    assert judge(recipe, {**FILES, "demo/table.py": ""})[0].state == "unproven"
    opt_in = make(('risk = "low"', 'risk = "low"\nopt-in = true'))
    assert judge(opt_in)[0].state == "opt-in"
    assert judge(opt_in, chosen=("demo-gate",))[0].state == "applies"
    action = GOOD[GOOD.index("[[action]]") : GOOD.index("[test]")]
    refusing = make((action, '[[action]]\ndo = "refuse"\nreason = "needs tcgen05."\nadvice = "Wait."\n'))
    assert [(one.state, one.why) for one in judge(refusing)] == [("refuses", "needs tcgen05. Wait.")]


def test_a_text_that_is_gone_is_a_sign_too(make) -> None:
    recipe = make(('contains = "(12, 1)"', 'lacks = "exact, for no reason"'))
    assert judge(recipe)[0].state == "applies"
    gone = {**FILES, "demo/gate.py": GATE.replace("exact, for no reason", "mended")}
    assert judge(recipe, gone)[0].state == "superseded"


def test_a_common_replacement_does_not_pass_for_our_edit(make) -> None:
    recipe = make(('replace = "cap[0] == 12"', 'replace = "True"'))
    with pytest.raises(RecipeError, match="no longer fits"):
        judge(recipe, {**FILES, "demo/gate.py": "def supported(cap):\n    x = True\n    return True\n"})
    applied = edit(recipe, Files(FILES))[0].after.decode()
    assert judge(recipe, {**FILES, "demo/gate.py": applied})[0].state == "applied-already"


def test_ends_when_is_looked_at(make) -> None:
    by_version = make(('{ version = ">=2" }', '{ version = ">=1.6" }'))
    assert [judge(by_version, version=v)[0].state for v in ("1.5", "1.6")] == ["applies", "superseded"]
    by_file = make(('{ version = ">=2" }', '{ probe = "x", path = "demo/new.py", contains = "sm121" }'))
    assert judge(by_file)[0].state == "applies"
    assert judge(by_file, {**FILES, "demo/new.py": "sm121"})[0].state == "superseded"


@pytest.mark.parametrize(
    ("change", "files", "said"),
    [
        (("(12, 0)", "(12, 0)"), {**FILES, "demo/gate.py": "cap"}, "expected 1 file with '(12, 0)', found 0"),
        (("(12, 0)", "(12, 0)"), {**FILES, "demo/gate.py": GATE * 2}, "expected '(12, 0)' 1 times, found it 2 times"),
        (("(12, 0)", "(12, 0)"), {}, "demo/gate.py: expected 1 file with '(12, 0)', found 0"),
        (('contains = "(12, 0)"', 'sha256 = ["' + "0" * 64 + '"]'), FILES, "expected one of 1 known files"),
        (('path = "demo/gate.py"\ncontains', 'path = "**/*.py"\ncount = 2\ncontains'), FILES, "expected 2 files"),
    ],
)
def test_anchors_that_do_not_hold(make, change: tuple[str, str], files: dict[str, str], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        judge(make(change), files)
    assert "demo-gate: no longer fits: anchor[0]: " in caught.value.message
    assert said in caught.value.message


def test_an_anchor_may_ask_for_absence(make) -> None:
    absent = make(('contains = "(12, 0)"', 'contains = "(10, 0)"\noccurrences = 0'))
    assert judge(absent)[0].state == "applies"
    with pytest.raises(RecipeError):
        judge(absent, {**FILES, "demo/gate.py": GATE + "(10, 0)"})


@pytest.mark.parametrize(
    ("facts", "state", "said"),
    [
        (None, "unproven", "were not read"),
        (Facts(), "unproven", "is not in it"),
        (Facts(kernel("other")), "unproven", "is not in it"),
        (Facts(kernel(status="suspicious-empty-kernel", size=128)), "unproven", "empty body"),
        (Facts(kernel(status="missing", size=None)), "unproven", "empty body"),
        (Facts(kernel(size=0)), "unproven", "empty body"),
        (Facts(kernel("other"), kernel()), "applies", "900 bytes"),
    ],
)
def test_a_kernel_must_have_a_body(make, facts: Facts | None, state: str, said: str) -> None:
    found = judge(make((TABLE, KERNEL)), facts=facts)[0]
    assert found.state == state
    assert said in found.why


def test_a_kernel_of_a_named_architecture(make) -> None:
    recipe = make((TABLE, KERNEL.replace("loads-on-target", "sm_121")))
    assert judge(recipe, facts=Facts(kernel()))[0].state == "unproven"


def test_a_negative_gate_needs_no_proof(make) -> None:
    recipe = make(('gate = "positive"', 'gate = "negative"'), (TABLE, 'kind = "not-a-gate"\nwhy = "widened"'))
    assert judge(recipe)[0].state == "applies"


def test_one_proof_of_several_is_enough(make) -> None:
    recipe = make((TABLE, f"{KERNEL}\n\n[[proof]]\n{TABLE}"))
    assert judge(recipe)[0].state == "applies"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('gate = "positive"', 'gate = "positive"\ncount = 2'), "expected 2 places to edit, found 1"),
        (('find = "cap == (12, 0)"', 'find = "cap == (12, 3)"'), "expected 1 place to edit, found 0"),
        (('path = "demo/gate.py"\nscope', 'path = "demo/gone.py"\nscope'), "demo/gone.py (no such file)"),
        (('scope = "supported"', 'scope = "unsupported"'), "no scope 'unsupported'"),
    ],
)
def test_an_action_without_its_effect_is_an_error(make, change: tuple[str, str], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        edit(make(change), Files(FILES))
    assert caught.value.message.startswith("demo-gate: action[0]: demo/")
    assert said in caught.value.message


def test_a_second_application_refuses(make) -> None:
    recipe = make()
    edits = edit(recipe, Files(FILES))
    after = EditedTree(Files(FILES), {}).with_edits(edits)
    assert is_applied(recipe, after)
    assert not is_applied(recipe, Files(FILES))
    with pytest.raises(RecipeError, match="expected 1 place to edit, found 0"):
        edit(recipe, after)


def test_actions_on_one_file_build_on_each_other(make) -> None:
    more = (
        '[[action]]\ndo = "replace-text"\npath = "demo/gate.py"\nfind = "cap[0] == 12"\nreplace = "cap[0] in (12,)"\n'
    )
    recipe = make(("[test]", f'{more}gate = "none"\n\n[test]'))
    (change,) = edit(recipe, Files(FILES))
    assert (change.before.decode(), change.after.decode()) == (GATE, GATE.replace("cap == (12, 0)", "cap[0] in (12,)"))
    undone = make(("[test]", f'{more.replace("cap[0] in (12,)", "cap == (12, 0)")}gate = "none"\n\n[test]'))
    with pytest.raises(RecipeError, match="undo each other"):
        edit(undone, Files(FILES))


def test_every_kind_of_file_action(make) -> None:
    action = GOOD[GOOD.index("[[action]]") : GOOD.index("[test]")]
    actions = """\
[[action]]
do = "append-python"
path = "demo/table.py"
target = "ARCHS"
add = "'12.1a'"
gate = "none"

[[action]]
do = "set-arch-list"
path = "CMakeLists.txt"
variable = "ARCHS"
value = "80;{archs}"

[[action]]
do = "cmake-overlay"
module = "select_compute_arch.cmake"
path = "cmake/select_compute_arch.cmake"

[[action]]
do = "build-env"
set = { LIST = "{torch_archs}", FLAGS = "{gencode} -arch={sm}" }

"""
    recipe = make((action, actions), ('["installed", "environment"]', '["sdist"]'))
    files = {**FILES, "CMakeLists.txt": "set(ARCHS 80 90)\n"}
    edits = {change.path: change for change in edit(recipe, Files(files), placeholders(ComputeCapability(12, 1)))}
    assert edits["demo/table.py"].after.decode() == "ARCHS = ['9.0', '12.1', '12.1a']\n"
    assert edits["CMakeLists.txt"].after.decode() == 'set(ARCHS "80;121")\n'
    assert edits["cmake/select_compute_arch.cmake"].before == b""
    assert b"function(cuda_select_nvcc_arch_flags" in edits["cmake/select_compute_arch.cmake"].after
    assert build_environment(recipe) == {
        "LIST": "12.1",
        "FLAGS": "-gencode=arch=compute_121,code=sm_121 -arch=sm_121",
    }
    after = EditedTree(Files(files), {}).with_edits(edits.values())
    assert is_applied(recipe, after)
    with pytest.raises(RecipeError, match=r"no placeholder \{typo\}"):
        build_environment(
            make((action, actions.replace("{sm}", "{typo}")), ('["installed", "environment"]', '["sdist"]'))
        )


def test_order_and_conflicts(make) -> None:
    first = make(identity="c-first")
    second = make(('risk = "low"', 'risk = "low"\nafter = ["c-first"]'), identity="b-second")
    third = make(('risk = "low"', 'risk = "low"\nafter = ["b-second", "absent"]'), identity="a-third")
    free = make(identity="bb")
    assert [one.id for one in in_order([third, free, second, first])] == ["bb", "c-first", "b-second", "a-third"]
    rival = make(('risk = "low"', 'risk = "low"\nconflicts = ["bb"]'), identity="d")
    with pytest.raises(RecipeError, match="d: conflicts with bb, and both apply"):
        in_order([free, rival])
    assert in_order([rival, first])
    circular = make(('risk = "low"', 'risk = "low"\nafter = ["a-third"]'), identity="c-first")
    with pytest.raises(RecipeError, match="circular"):
        in_order([circular, second, third])


def test_two_recipes_for_one_place_do_not_both_apply(make) -> None:
    with pytest.raises(RecipeError, match="other-gate: action"):
        edit_all([make(), make(identity="other-gate")], Files(FILES))


def test_all_misfits_are_named(make) -> None:
    with pytest.raises(RecipeError) as caught:
        match(
            [make(), make(identity="other-gate")],
            package="demo",
            version="1.5",
            kind=AppliesTo.INSTALLED,
            target=TARGET,
            tree=Files({}),
            proofs=None,
        )
    assert "demo-gate: no longer" in caught.value.message
    assert "other-gate: no longer" in caught.value.message
