"""Who may import whom, and what no module may do: read from the syntax trees, so that nothing has to run."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import biosig_mtl

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "biosig_mtl"

# A room may import itself and these.
ROOMS: dict[str, set[str]] = {
    # The nouns lie in four files; the other rooms know them all as types.
    "errors": set(),
    "recordings": {"errors", "cards"},
    "outcomes": {"recordings", "cards"},
    "types": {"errors", "recordings", "outcomes", "cards"},
    # How nouns show themselves in a notebook; it knows them for the type checker only.
    "cards": {"types"},
    # Where electrodes lie: knowledge that steps, features, networks and maps share, as they share the nouns.
    "montage": set(),
    # Its errors are types: an error class of its own would be a second family.
    "recipe": {"types"},
    # Object stores: recordings lie there, and window stores; both rooms list, fetch and put in the same way.
    "places": {"types"},
    "tasks": {"types"},
    "signal": {"types", "montage"},
    "windows": {"types"},
    "features": {"types", "montage"},
    "splits": {"types"},
    "plots": {"types", "montage"},
    "models": {"types", "tasks", "montage"},
    "data": {"types", "recipe", "places"},
    "store": {"types", "recipe", "places"},
    "training": {"types", "tasks", "recipe"},
    "evaluation": {"types", "tasks"},
    # tasks: it looks up the reference kinds that a recipe's task bars from the inputs.
    "pipeline": {"types", "tasks", "recipe", "places", "data", "signal", "windows", "features", "store"},
    "experiment": {"types", "tasks", "recipe", "store", "splits", "models", "training", "evaluation"},
    # What is done with a trained network: new tasks, pre-training, pruning, distillation.
    "lifecycle": {"types", "tasks", "recipe", "store", "splits", "models", "training", "evaluation", "experiment"},
    # pipeline and data: a prediction must run the very code that prepared the training set; a copy would drift.
    "inference": {"types", "tasks", "recipe", "data", "pipeline", "signal", "windows", "features", "models", "training"},
    # inference: what is exported is a finished run with its preparation, and parity is checked against it.
    "export": {"types", "tasks", "recipe", "data", "pipeline", "signal", "windows", "features", "models", "training"}
    | {"inference"},
    # pipeline: features are made by the very steps of a recipe; splits: the inner parts are drawn by person.
    "estimators": {"types", "tasks", "recipe", "pipeline", "signal", "windows", "features", "models", "training", "splits"},
    # Records from and to other libraries' own objects.
    "interop": {"types", "data"},
    # A recording that is being made: where it comes from, and who looks on.
    "live": {"types", "recipe", "data", "inference"},
    "report": {"types", "tasks", "plots", "evaluation", "recipe"},
    # A look uses the steps and rules of the preparation, on a recording of no data set, and draws what they found.
    "looking": {"types", "recipe", "data", "pipeline", "signal", "windows", "plots"},
}
# The command line may import everything, inside its functions, and does nothing of its own.
ROOMS["cli"] = set(ROOMS)
ROOMS["__main__"] = {"cli"}
WORKERS = {"signal", "windows", "features", "splits", "plots", "models", "data", "store", "training", "evaluation"}
TORCH_ROOMS = {"models", "training", "experiment", "lifecycle", "inference", "export", "estimators"}

# More than 100 ms each: made where they are used.
HEAVY = ("scipy.signal", "torch", "mne", "wfdb", "matplotlib", "sklearn", "neurokit2", "pandas")
NOT_AT_THE_DOOR = ("torch", "mne", "matplotlib", "sklearn", "scipy", "pandas", "wfdb", "neurokit2", "pyarrow", "numpy")
# What can run code that a file brings along.
UNSAFE_MODULES = {"dill", "cloudpickle", "shelve", "marshal", "joblib"}
UNSAFE_CALLS = {"eval", "exec", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system"}


@dataclass(frozen=True)
class Import:
    """One imported name: ``inside`` a function, or only for the type checker."""

    target: str
    line: int
    inside: bool
    typing: bool
    relative: bool


def read_modules() -> dict[str, ast.Module]:
    modules = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        words = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(words[:-1] if words[-1] == "__init__" else words)
        modules[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return modules


MODULES = read_modules()
INSIDE = [name for name in MODULES if name != "biosig_mtl"]


@cache
def imports(tree: ast.Module) -> list[Import]:
    return list(_imports(tree, inside=False, typing=False))


def _imports(node: ast.AST, *, inside: bool, typing: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, inside, typing, relative=False)
        elif isinstance(child, ast.ImportFrom):
            for alias in child.names:
                yield Import(f"{child.module}.{alias.name}", child.lineno, inside, typing, child.level > 0)
        elif isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            yield from _imports(ast.Module(child.body, []), inside=inside, typing=True)
            yield from _imports(ast.Module(child.orelse, []), inside=inside, typing=typing)
        else:
            deeper = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, inside=inside or deeper, typing=typing)


def ours(target: str) -> str:
    """Return the module of ours that is meant: the name itself, or what it is taken from."""
    return target if target in MODULES else target.rpartition(".")[0]


def room(module: str) -> str:
    """Return the room of a module; a file beside a room that begins with its name (``report_sections``) belongs to it."""
    word = module.split(".")[1]
    return word if word in ROOMS else word.partition("_")[0]


def is_of(target: str, package: str) -> bool:
    return target == package or target.startswith(f"{package}.")


def calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def says(call: ast.Call, word: str, *, value: bool) -> bool:
    return any(k.arg == word and isinstance(k.value, ast.Constant) and k.value.value is value for k in call.keywords)


# -------------------------------------------------------------------------------------------------------------- reading
def test_the_reader_of_imports_sees_all_kinds() -> None:
    tree = ast.parse(
        "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\nelse:\n    import f\n"
        "def g():\n    if x:\n        import h\nfrom . import i\n"
    )
    found = {(i.target, i.inside, i.typing, i.relative) for i in imports(tree)}
    assert found == {
        ("a.b", False, False, False),
        ("c.d", False, False, False),
        ("e", False, True, False),
        ("f", False, False, False),
        ("h", True, False, False),
        ("None.i", False, False, True),
    }


# ------------------------------------------------------------------------------------------------------------------ laws
@pytest.mark.parametrize("module", INSIDE)
def test_imports_point_only_upstream(module: str) -> None:
    assert room(module) in ROOMS, f"{module}: a room that the table does not know"
    allowed = ROOMS[room(module)] | {room(module)}
    wrong = [
        f"line {i.line}: {i.target}"
        for i in imports(MODULES[module])
        if is_of(i.target, "biosig_mtl") and (ours(i.target) == "biosig_mtl" or room(ours(i.target)) not in allowed)
    ]
    assert not wrong, f"{module} ({room(module)}) may import {', '.join(sorted(allowed))}"


@pytest.mark.parametrize("module", INSIDE)
def test_nobody_inside_uses_the_front_door(module: str) -> None:
    used = [i for i in imports(MODULES[module]) if is_of(i.target, "biosig_mtl") and ours(i.target) == "biosig_mtl"]
    assert not used


def test_workers_never_import_workers() -> None:
    # The law of which the table is the long form.
    for worker in WORKERS:
        assert not ROOMS[worker] & WORKERS


@pytest.mark.parametrize("module", [m for m in INSIDE if room(m) not in TORCH_ROOMS])
def test_torch_stays_in_its_rooms(module: str) -> None:
    assert not [i for i in imports(MODULES[module]) if is_of(i.target, "torch") and not i.typing]


@pytest.mark.parametrize("module", [m for m in INSIDE if room(m) in WORKERS])
def test_heavy_packages_are_imported_where_they_are_used(module: str) -> None:
    barred = [h for h in HEAVY if not (h == "torch" and room(module) in TORCH_ROOMS)]
    wrong = [
        f"line {i.line}: {i.target}"
        for i in imports(MODULES[module])
        if not i.inside and not i.typing and any(is_of(i.target, h) for h in barred)
    ]
    assert not wrong


def test_there_is_no_import_cycle() -> None:
    graph = {
        name: {ours(i.target) for i in imports(tree) if not i.typing and is_of(i.target, "biosig_mtl")} - {name}
        for name, tree in MODULES.items()
    }
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("module", MODULES)
def test_imports_are_absolute(module: str) -> None:
    assert not [i for i in imports(MODULES[module]) if i.relative]


def test_no_module_is_over_400_lines() -> None:
    lengths = {p.relative_to(ROOT).as_posix(): len(p.read_text(encoding="utf-8").splitlines()) for p in PACKAGE.rglob("*.py")}
    assert {name: n for name, n in lengths.items() if n > 400} == {}


def test_no_room_is_called_utils() -> None:
    assert not [m for m in MODULES if re.search(r"\b(utils?|helpers?|misc|common)$", m)]


@pytest.mark.parametrize("module", MODULES)
def test_nothing_runs_code_that_a_file_brings(module: str) -> None:
    tree = MODULES[module]
    # torch refuses a bad file with pickle's own error, which may be named and nothing else.
    assert not [i for i in imports(tree) if i.target.startswith("pickle.") and i.target != "pickle.UnpicklingError"]
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not [name for name in used if name.startswith("pickle.") and name != "pickle.UnpicklingError"]
    assert not [i for i in imports(tree) if i.target.split(".")[0] in UNSAFE_MODULES]
    for call in calls(tree):
        name, where = ast.unparse(call.func), f"{module}, line {call.lineno}"
        assert name not in UNSAFE_CALLS, where
        assert name != "torch.load" or says(call, "weights_only", value=True), where
        assert not says(call, "allow_pickle", value=True), where
        assert not says(call, "shell", value=True), where


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_says_what_it_is(module: str) -> None:
    tree = MODULES[module]
    assert ast.get_docstring(tree), "the module"
    assert not [name for name, node in _public(tree) if not ast.get_docstring(node)]


Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _public(node: ast.Module | ast.ClassDef) -> Iterator[tuple[str, Documented]]:
    for child in node.body:
        if isinstance(child, Documented) and not child.name.startswith("_"):
            yield child.name, child
            if isinstance(child, ast.ClassDef):
                yield from _public(child)


# ------------------------------------------------------------------------------------------------------------ front door
def test_the_front_door_is_small_and_every_name_leads_somewhere() -> None:
    assert len(biosig_mtl.__all__) <= 35
    assert list(biosig_mtl.__all__) == sorted(set(biosig_mtl.__all__))
    for name in biosig_mtl.__all__:
        assert getattr(biosig_mtl, name) is not None
    assert dir(biosig_mtl) == sorted(biosig_mtl.__all__)
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        biosig_mtl.no_such_name  # noqa: B018


def test_the_door_opens_fast_and_loads_nothing() -> None:
    watch = f"import sys, json, biosig_mtl; print(json.dumps([m for m in {NOT_AT_THE_DOOR!r} if m in sys.modules]))"
    cumulative_us = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", watch], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout) == []
        found = re.search(r"\|\s*(\d+) \| biosig_mtl$", done.stderr, re.MULTILINE)
        assert found is not None
        cumulative_us.append(int(found[1]))
    # The best of three: a busy machine is not a slow package.
    assert min(cumulative_us) < 500_000
