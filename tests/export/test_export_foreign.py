"""A file that says wrong things of itself is refused in one line: nothing of it reaches a user as an error of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from biosig_mtl import cli
from biosig_mtl.export import Exported
from biosig_mtl.export.runtime import KEY
from biosig_mtl.types import DataError
from tests.export.conftest import Commanded


def altered(path: Path, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """Return the file with other words about itself."""
    import onnx

    model = onnx.load(path)
    for prop in model.metadata_props:
        if prop.key == KEY:
            words = json.loads(prop.value)
            prop.value = json.dumps(change(words) or words)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    "change",
    [
        lambda _: [1, 2],
        lambda words: words.update(format=99),
        lambda words: words.pop("spec") and None,
        lambda words: words.update(spec="all of them"),
        lambda words: words["spec"].update(features=["one"]),
        lambda words: words["spec"].update(targets=["sbp", "dbp", "map"]),
        lambda words: words.update(networks=[]),
        lambda words: words.update(networks=["a"] * 99),
    ],
)
def test_wrong_words_about_itself_are_refused(commanded: Commanded, change: Callable[[dict[str, Any]], Any]) -> None:
    path = next(p for p in commanded.folder.glob("*.onnx") if ".int8" not in p.name)
    assert Exported.of(path.read_bytes()).targets == ("sbp", "dbp")
    with pytest.raises(DataError, match=r"^the graph: "):
        Exported.of(altered(path, change))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"sha256": "x"}', '{"sha256": 3}', "null", "{"])
def test_a_broken_recipe_beside_it_is_refused(commanded: Commanded, tmp_path: Path, text: str) -> None:
    path = next(p for p in commanded.folder.glob("*.onnx") if ".int8" not in p.name)
    (tmp_path / "model.onnx").write_bytes(path.read_bytes())
    (tmp_path / "model.recipe.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"model\.recipe\.json: not readable"):
        Exported.load(tmp_path / "model.onnx")


def test_the_verb_is_found_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The room, and not what the front door has under a like name.
    with pytest.raises(SystemExit) as left:
        cli.main(["export", str(tmp_path / "none"), "--out", str(tmp_path / "model.onnx")])
    assert left.value.code == 3
    assert "Traceback" not in capsys.readouterr().err
