"""Laws of the pins for the lowest versions: every lower bound is one, and none is made up."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from tests import lowest

PROJECT = {
    "dependencies": ["NumPy>=2.0", "typer >= 0.29 ", "pyyaml"],
    "optional-dependencies": {
        "grad": ["torchjd>=0.18,<0.19"],
        "dev": ["biosig-mtl[grad]", "ruff>=0.6", "mypy>=1", "pandas-stubs>=2.2", "types-PyYAML>=6", "moto[server]>=5.1"],
        "bench": ["heartpy>=1.2", "setuptools<82"],
    },
}


def test_pins_are_the_lower_bounds() -> None:
    found = lowest.pins(lowest.requirements(PROJECT))
    assert found == {"numpy": "2.0", "typer": "0.29", "torchjd": "0.18", "moto": "5.1"}


def test_two_lower_bounds_of_one_package_are_refused() -> None:
    assert lowest.pins(["a>=1", "a>=1"]) == {"a": "1"}
    with pytest.raises(ValueError, match="need one lower bound of a, got 1 and 2"):
        lowest.pins(["a>=1", "a>=2"])


def test_every_dependency_of_ours_has_a_lower_bound() -> None:
    found = lowest.declared()
    assert {"numpy", "torch", "pyarrow", "pytest"} <= set(found)
    assert not {"ruff", "mypy", "biosig-mtl", "heartpy"} & set(found)


def test_versions_compare_as_numbers() -> None:
    assert lowest.numbers("2.13.0+cpu") == lowest.numbers("2.13") == (2, 13)
    assert lowest.numbers("6.0.0") == lowest.numbers("6")
    assert lowest.numbers("odd") == ()


def test_what_is_not_at_its_lowest_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def version(name: str) -> str:
        if name == "torch":
            raise PackageNotFoundError(name)
        return {"numpy": "2.0.0"}.get(name, "99")

    monkeypatch.setattr(lowest, "version", version)
    assert lowest.off({"numpy": "2.0", "mne": "1.8", "torch": "2.4"}) == [
        "mne: 99 is installed, its lowest version is 1.8",
        "torch: not installed, its lowest version is 2.4",
    ]
    assert lowest.main(["--off"]) == 0
    assert "mne: 99" in capsys.readouterr().out


def test_the_pins_are_what_pip_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert lowest.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "numpy==2.0" in lines
    assert all("==" in line or "<" in line for line in lines)
