"""The house: what lies where, what is promised outside, and what must never be committed."""

from __future__ import annotations

import ast
import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from biosig_mtl.data import manifest
from biosig_mtl.recipe import load

ROOT = Path(__file__).parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RECIPES = sorted((ROOT / "pipelines").glob("*.yaml"))
MANIFESTS = sorted((ROOT / "data_manifests").glob("*.yaml"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TARGETS = ("install", "demo", "test", "lint", "bench", "clean")
MADE = {".venv", ".git", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", "build", "dist", "runs"}
MADE |= {"stores", ".ipynb_checkpoints"}


def files() -> Iterator[Path]:
    """Yield what may be committed: everything but what tools make."""
    for folder, inner, names in os.walk(ROOT):
        inner[:] = [i for i in inner if i not in MADE and not i.endswith(".egg-info")]
        yield from (Path(folder) / name for name in names if not name.startswith(".coverage"))


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {plain(name): version for name, version in found}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# ---------------------------------------------------------------------------------------------------------------- layout
@pytest.mark.parametrize(
    "path",
    [
        "pyproject.toml",
        "biosig_mtl/__init__.py",
        "biosig_mtl/py.typed",
        "pipelines",
        "notebooks",
        "data_manifests",
        "tests",
        "README.md",
        "Makefile",
        "constraints.txt",
        "LICENSE",
        "CHANGELOG.md",
        ".ci/run",
        ".gitignore",
    ],
)
def test_the_furniture_is_there(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize(
    "name",
    [
        "types",
        "tasks",
        "recipe",
        "data",
        "signal",
        "windows",
        "features",
        "pipeline",
        "store",
        "splits",
        "models",
        "training",
        "evaluation",
        "experiment",
        "inference",
        "plots",
        "report",
        "cli",
    ],
)
def test_every_room_is_there(name: str) -> None:
    room = ROOT / "biosig_mtl" / name
    assert room.with_suffix(".py").is_file() or (room / "__init__.py").is_file()


def test_folders_hold_only_what_they_are_for() -> None:
    assert {p.suffix for p in (ROOT / "pipelines").iterdir() if p.name != "variants"} == {".yaml"}
    assert {p.suffix for p in (ROOT / "pipelines" / "variants").iterdir()} == {".yaml"}
    assert {p.suffix for p in (ROOT / "data_manifests").iterdir()} == {".yaml"}
    assert {p.suffix for p in (ROOT / "notebooks").iterdir() if p.is_file()} <= {".ipynb", ".md"}


def test_nothing_is_left_behind_by_a_patch() -> None:
    assert [p for p in files() if p.suffix in {".orig", ".rej", ".bak"}] == []


def test_tests_mirror_the_package() -> None:
    rooms = {p.name for p in (ROOT / "biosig_mtl").iterdir() if (p / "__init__.py").is_file()}
    mirrored = {p.stem.removeprefix("test_") for p in (ROOT / "tests").iterdir() if p.name not in MADE}
    assert rooms <= mirrored


def test_test_files_have_unique_names_and_no_packages() -> None:
    names = [p.name for p in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))
    assert not list((ROOT / "tests").rglob("__init__.py"))


# ---------------------------------------------------------------------------------------------------------------- set-up
def test_constraints_pin_every_direct_dependency() -> None:
    project = PYPROJECT["project"]
    wanted = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = {plain(re.split(r"[\[<>=! ;]", line)[0]) for line in wanted} - {"biosig-mtl"}
    assert names - set(pins()) == set()


def test_constraints_pin_torch_without_a_local_build() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", pins()["torch"])
    assert not [name for name, version in pins().items() if "+" in version]


def test_an_installed_package_carries_recipes_and_manifests() -> None:
    carried = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert carried == {"pipelines": "biosig_mtl/_pipelines", "data_manifests": "biosig_mtl/_data_manifests"}


@pytest.mark.parametrize("target", TARGETS)
def test_make_has_the_target_and_the_readme_tells_of_it(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert f"make {target}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_continuous_integration_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text(encoding="utf-8")


def test_the_readme_tells_of_every_verb() -> None:
    from biosig_mtl.cli import app

    commands = [c.name or getattr(c.callback, "__name__", "") for c in app.registered_commands]
    groups = [g.name or getattr(g.typer_instance, "info", g).name for g in app.registered_groups]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    verbs = [str(v).replace("_", "-") for v in [*commands, *groups]]
    assert verbs
    assert [v for v in verbs if f"biosig-mtl {v}" not in readme] == []


# ------------------------------------------------------------------------------------------------- recipes and manifests
@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_shipped_recipe_loads_and_its_data_sets_are_known(path: Path) -> None:
    recipe = load(path)
    assert recipe.name == path.stem
    for dataset in filter(None, (recipe.data.dataset, recipe.data.test_dataset)):
        assert dataset in {p.stem for p in MANIFESTS}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: p.stem)
def test_a_shipped_manifest_loads_and_says_whence_and_under_which_licence(path: Path) -> None:
    facts = manifest.load(path)
    assert facts.name == path.stem
    assert facts.licence
    assert facts.citation
    assert facts.timing_reason


# ------------------------------------------------------------------------------------------------------------- notebooks
def code_of(path: Path) -> list[str]:
    """Return the code of each cell, without the lines that only a notebook understands."""
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    return ["".join(line for line in c["source"] if not line.lstrip().startswith(("%", "!"))) for c in cells]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_numbered_and_without_output(path: Path) -> None:
    assert re.match(r"\d\d_", path.name)
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert not [c for c in cells if c.get("outputs") or c.get("execution_count")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_has_no_long_function_and_uses_the_front_door(path: Path) -> None:
    for node in (n for code in code_of(path) for n in ast.walk(ast.parse(code))):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or node.lineno) - node.lineno < 10, f"{node.name} belongs into the package"
        if isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("biosig_mtl.")
        if isinstance(node, ast.Import):
            assert not [a for a in node.names if a.name.startswith("biosig_mtl.")]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    # It runs where nothing of it stays.
    book: Any = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()


# -------------------------------------------------------------------------------------------------------------- all files
def test_no_file_names_a_place_on_one_machine() -> None:
    place = re.compile(r"(?<![\w.:/])(/(home|Users|root|work|mnt|scratch)/\w|[A-Z]:\\Users)")
    found = []
    for path in files():
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {m.group()}" for m in place.finditer(text)]
    assert found == []


def test_nothing_large_and_no_recording_is_committed() -> None:
    recordings = {".dat", ".mat", ".edf", ".bdf", ".h5", ".hdf5", ".npy", ".npz", ".pkl", ".pt", ".pth", ".safetensors"}
    assert [p for p in files() if p.suffix in recordings] == []
    assert [p for p in files() if p.stat().st_size > 500_000] == []
