"""Laws of the environment: what may move a figure is told, nothing that names a machine or a person, and twice is the same."""

from __future__ import annotations

import getpass
import json
import platform
import re
import shutil
import socket
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from biosig_mtl.experiment import environment
from biosig_mtl.recipe import Recipe, dump

ROOT = Path(__file__).parents[2]


def described(tiny: Recipe, tmp_path: Path) -> dict[str, object]:
    (tmp_path / "recipe.yaml").write_text(dump(tiny.to_dict()), encoding="utf-8")
    place = tmp_path / "stores" / "0123456789ab"
    place.mkdir(parents=True, exist_ok=True)
    (place / "store.json").write_text("{}", encoding="utf-8")
    return environment.describe(tmp_path / "recipe.yaml", [place])


def test_what_may_move_a_figure_is_told(tiny: Recipe, tmp_path: Path) -> None:
    told = described(tiny, tmp_path)
    assert set(told) == {
        "python", "system", "machine", "libc", "processor", "variables", "torch", "numpy", "packages", "source", "recipe",
        "stores", "store_sha256",
    }  # fmt: skip
    assert told["stores"] == ["0123456789ab"]
    # sha256 of "{}", as sha256sum prints it.
    assert told["store_sha256"] == {"0123456789ab": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}
    assert told["recipe"] == {
        "sha256": environment.sha256(tmp_path / "recipe.yaml"),
        "seeds": [int(seed) for seed in tiny.split.get("seeds", ())],
    }
    torch = environment.torch_build()
    assert {"kernels", "threads", "float32_products", "accelerator"} <= set(torch)
    assert environment.numpy_build()["blas"] != "unknown"


def test_twice_is_the_same_and_names_nobody(tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = json.dumps(described(tiny, tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    assert json.dumps(described(tiny, tmp_path)) == first
    words = set(re.findall(r"[\w./-]+", first))
    barred = {socket.gethostname(), platform.node(), getpass.getuser(), str(Path.home()), str(Path.cwd()), str(tmp_path)}
    assert not {word for word in words if word in barred or word.startswith("/")}


def test_every_declared_dependency_is_told() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[><=\[; ]", word)[0].lower() for word in project["dependencies"]}
    assert declared <= set(environment.PACKAGES)
    assert project["name"] in environment.PACKAGES


def test_a_package_that_is_not_there_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package == "h5py":
            raise PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(environment, "version", version)
    assert set(environment.packages()) == set(environment.PACKAGES) - {"h5py"}


def test_only_known_variables_with_plain_values_are_told(tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "/somewhere/else\n/secret")
    monkeypatch.setenv("API_KEY", "secret")
    assert described(tiny, tmp_path)["variables"] == {"OMP_NUM_THREADS": "2", "MKL_CBWR": "AVX2"}


CPUINFO = """processor\t: 0
model name\t: A Processor 7 (TM)
flags\t\t: fpu avx avx2 fma secret_thing amx_bf16

processor\t: 1
model name\t: Another
flags\t\t: fpu
"""


def test_a_processor_is_its_model_and_the_flags_that_choose_kernels(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO, encoding="utf-8")
    assert environment.processor(path) == {"model": "A Processor 7 (TM)", "flags": ["avx", "avx2", "fma", "amx_bf16"]}
    path.write_text("Features\t: asimd sve\n", encoding="utf-8")
    assert environment.processor(path)["flags"] == ["asimd", "sve"]
    assert environment.processor(tmp_path / "none")["flags"] == []


def test_the_digest_of_the_source_is_that_of_its_content(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    (first / "x").mkdir(parents=True)
    (first / "x" / "one.py").write_bytes(b"1\n2\n")
    (first / "two.py").write_bytes(b"2\n")
    shutil.copytree(first, second)
    whole = environment.source_digest(first)
    (second / "x" / "one.py").write_bytes(b"1\r\n2\r\n")
    (second / "note.txt").write_text("not a module")
    assert environment.source_digest(second) == whole
    (second / "two.py").write_bytes(b"3\n")
    assert environment.source_digest(second) != whole
    (first / "two.py").rename(first / "three.py")
    assert environment.source_digest(first) != whole


def test_a_recipe_that_is_not_there_has_no_digest_and_no_seeds(tmp_path: Path) -> None:
    told = environment.describe(tmp_path / "none.yaml", [tmp_path / "no_store"])
    assert told["recipe"] == {"sha256": None, "seeds": []}
    assert told["store_sha256"] == {"no_store": None}
    (tmp_path / "odd.yaml").write_text("- 1\n", encoding="utf-8")
    assert environment.seeds_of(tmp_path / "odd.yaml") == []
