"""Laws of recipes: strict words, round trips, one-line errors, and a digest that follows every value."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.recipe import BLOCKS, DataBlock, Recipe, build, choose, digest, dump, find, from_dict, load
from biosig_mtl.types import BiosigError, RecipeError

SHIPPED = sorted((Path(__file__).parents[1] / "pipelines").glob("*.yaml"))


@dataclass(frozen=True)
class Inner:
    low: float = 0.5

    def __post_init__(self) -> None:
        if self.low <= 0:
            raise ValueError(f"need low > 0, got {self.low}")


@dataclass(frozen=True)
class Outer:
    names: tuple[str, ...] = ()
    count: int = 1
    inner: Inner = field(default_factory=Inner)
    other: Inner | None = None


def content(**changes: Any) -> dict[str, Any]:
    return {
        "name": "x",
        "task": "blood_pressure",
        "data": {"dataset": "demo"},
        "signal": [{"step": "resample", "fs_hz": 125}, {"step": "bandpass", "low_hz": 0.5}],
        "windows": {"length_s": 8},
        "features": {},
        **changes,
    }


def one_line(error: pytest.ExceptionInfo[BiosigError]) -> str:
    text = str(error.value)
    assert text
    assert "\n" not in text
    return text


# ------------------------------------------------------------------------------------------------------------------- words
@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_recipe_is_read_and_comes_back_from_plain_content(path: Path) -> None:
    made = load(path)
    assert from_dict(made.to_dict()) == made
    assert from_dict(yaml.safe_load(dump(made.to_dict()))) == made
    assert load(path.stem) == made


def test_there_are_shipped_recipes() -> None:
    assert {"demo_bp", "ppg_bp", "uci_bp", "mimic3_bp"} <= {p.stem for p in SHIPPED}


def test_a_near_word_is_offered_and_a_strange_one_gets_the_list() -> None:
    with pytest.raises(RecipeError, match=r"unknown signal step 'bandpas'; did you mean 'bandpass'\?"):
        choose("bandpas", ["bandpass", "resample"], "signal step")
    with pytest.raises(RecipeError, match="choose from bandpass, resample"):
        choose("zzz", {"resample": 1, "bandpass": 2}, "signal step")
    assert choose("bandpass", ["bandpass"], "signal step") == "bandpass"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"splits": {}}, "did you mean 'split'"),
        ({"data": {"dataset": "demo", "limt": 3}}, "did you mean 'limit'"),
        ({"data": {"dataset": "demo", "limit": 0}}, "need limit >= 1, got 0"),
        ({"data": {}}, "data.dataset"),
        ({"data": None}, "data"),
        ({"data": "demo"}, "data"),
        ({"signal": {"step": "resample"}}, "signal"),
        ({"signal": ["resample"]}, "signal.0"),
        ({"windows": [1]}, "windows"),
        ({"windows": None}, "windows"),
        ({"name": 5}, "name"),
        ({"task": ["blood_pressure"]}, "task"),
        ({7: 7}, "unknown setting"),
    ],
)
def test_wrong_words_and_types_are_one_line_that_names_the_place(change: dict[Any, Any], expected: str) -> None:
    with pytest.raises(RecipeError) as error:
        from_dict({**content(), **change})
    assert expected in one_line(error)


def test_a_block_that_is_not_there_is_named() -> None:
    for block in ("task", "data", "signal", "windows", "features"):
        short = {k: v for k, v in content().items() if k != block}
        with pytest.raises(RecipeError, match=block) as error:
            from_dict(short)
        assert len(one_line(error)) < 200


def test_settings_inside_settings_are_as_strict_as_the_rest() -> None:
    made = build(Outer, {"names": ["a", "b"], "inner": {"low": 2}, "other": {"low": 3}}, "windows")
    assert made == Outer(("a", "b"), 1, Inner(2.0), Inner(3.0))
    for word in ("inner", "other"):
        with pytest.raises(RecipeError, match=f"'windows.{word}' 'lwo'; did you mean 'low'"):
            build(Outer, {word: {"lwo": 2}}, "windows")
    with pytest.raises(RecipeError, match=r"windows\.inner: need low > 0, got -1"):
        build(Outer, {"inner": {"low": -1}}, "windows")
    with pytest.raises(RecipeError, match=r"windows\.names"):
        build(Outer, {"names": "ppg"}, "windows")
    with pytest.raises(RecipeError, match="need a mapping of settings, got list"):
        build(Outer, [1], "windows")  # type: ignore[arg-type]


def test_the_data_block_refuses_an_empty_limit() -> None:
    with pytest.raises(ValueError, match="need limit >= 1"):
        DataBlock("demo", limit=0)


# --------------------------------------------------------------------------------------------------------------- overrides
@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(dump(content()), encoding="utf-8")
    return path


def test_overrides_reach_blocks_lists_and_words_that_are_not_there_yet(written: Path) -> None:
    made = load(
        written,
        [
            "signal.1.low_hz=0.7",
            "signal.0={step: resample, fs_hz: 100}",
            "model.width=64",
            "training.loss.name=huber",
            "windows.channels=[ppg, ecg]",
            "data.limit=3",
            "title=a=b",
            "split=",
            "split={folds: 3}",
        ],
    )
    assert made.signal == ({"step": "resample", "fs_hz": 100}, {"step": "bandpass", "low_hz": 0.7})
    assert made.model == {"width": 64}
    assert made.training == {"loss": {"name": "huber"}}
    assert made.windows["channels"] == ["ppg", "ecg"]
    assert made.data.limit == 3
    assert made.title == "a=b"
    assert made.split == {"folds": 3}


@pytest.mark.parametrize(
    "override",
    [
        "model",
        "=3",
        "model.=3",
        ".width=3",
        "modle.width=3",
        "signal.9.low_hz=1",
        "signal.-1.low_hz=1",
        "signal.x.low_hz=1",
        "signal.²=1",
        "signal.0.fs_hz.deep=1",
        "signal.0.fs_hz.deep.deeper=1",
        "name.x=1",
        "model.x=[1",
        "model.x=2020-13-45",
        "data.limit=many",
        "data.limit=0",
        "data.limt=1",
    ],
)
def test_a_wrong_override_is_one_line(written: Path, override: str) -> None:
    with pytest.raises(RecipeError) as error:
        load(written, [override])
    one_line(error)


# ------------------------------------------------------------------------------------------------------------------- files
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\tname: x",
        b"- a\n- b",
        b"just words",
        b"name: [x",
        b"name: x\n---\nname: y",
        b"\x00\xff\xfe\x01",
        b"\x89PNG\r\n\x1a\n",
        b"name: !!python/object/apply:os.system [ls]",
        b"? [a]\n: 3",
        b"a: 2020-13-45",
        b"a: 0x_",
        b"a: !!float abc",
        b"a: !!bool abc",
        b"a: !!timestamp abc",
        b"&a {name: *a}",
        b"[" * 1100,
        b"1: 2",
        b"name: &x {a: 1}\n<<: 3",
    ],
    ids=range(19),
)
def test_nonsense_yaml_is_one_line_and_never_a_traceback(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "nonsense.yaml"
    path.write_bytes(text)
    with pytest.raises(RecipeError) as error:
        load(path)
    assert "nonsense.yaml" in one_line(error)


@settings(max_examples=60, deadline=None)
@given(text=st.binary(max_size=40) | st.text("ab:-[]{}!&*? \n#'\"|>1.", max_size=40).map(str.encode))
def test_no_bytes_at_all_make_a_traceback(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text)
    with pytest.raises(RecipeError):
        load(path)


def test_a_recipe_that_is_nowhere_is_one_line(tmp_path: Path) -> None:
    for nowhere in ("pgp_bp", "ppg_bp.yml", str(tmp_path / "none.yaml"), tmp_path, ""):
        with pytest.raises(RecipeError) as error:
            load(nowhere)
        one_line(error)
    with pytest.raises(RecipeError, match="did you mean 'ppg_bp'"):
        load("pgp_bp")


def test_a_shipped_recipe_is_found_by_name_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("ppg_bp") == find("ppg_bp.yaml") == find("pipelines/ppg_bp.yaml")


# ------------------------------------------------------------------------------------------------------------------ digest
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text("abc", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcd", min_size=1, max_size=2), inner, max_size=4),
    max_leaves=12,
)


def turned(value: Any) -> Any:
    """Return the same content with the keys the other way round and lists as tuples."""
    if isinstance(value, dict):
        return {k: turned(value[k]) for k in reversed(list(value))}
    return tuple(turned(v) for v in value) if isinstance(value, list) else value


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    return [path] if pairs is None else [leaf for k, v in pairs for leaf in leaves(v, (*path, k))]


@given(value=plain)
def test_digest_does_not_depend_on_the_order_of_keys(value: Any) -> None:
    assert digest(turned(value)) == digest(value)
    assert len(digest(value)) == 12
    assert int(digest(value), 16) >= 0


@given(value=plain.filter(lambda v: bool(leaves(v))), data=st.data())
def test_digest_changes_with_any_value(value: Any, data: st.DataObject) -> None:
    spot = data.draw(st.sampled_from(leaves(value)))
    changed = {"root": copy.deepcopy(value)}
    inner: Any = changed
    for word in ("root", *spot)[:-1]:
        inner = inner[word]
    inner[("root", *spot)[-1]] = "another"
    assert digest(changed) != digest({"root": value})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_digest_of_a_recipe_changes_with_each_of_its_values(path: Path) -> None:
    whole = load(path).to_dict()
    names = {digest(whole)}
    spots = leaves(whole)
    for spot in spots:
        changed = copy.deepcopy(whole)
        inner: Any = changed
        for word in spot[:-1]:
            inner = inner[word]
        inner[spot[-1]] = "another"
        names.add(digest(changed))
    assert len(names) == len(spots) + 1


def test_digest_is_the_same_today_and_tomorrow() -> None:
    # Golden: sha256 of '{"a":[1,2.5],"b":null}', first 12 digits, from sha256sum.
    assert digest({"b": None, "a": (1, 2.5)}) == "f66b2c50ccae"


def test_digest_takes_settings_paths_and_sets_and_refuses_what_has_no_fixed_text() -> None:
    assert digest(Inner(2.0)) == digest({"low": 2.0})
    assert digest([Path("a/b"), {3, 1}]) == digest(["a/b", [1, 3]])
    for bad in (float("nan"), float("inf"), object()):
        with pytest.raises(RecipeError) as error:
            digest({"a": bad})
        one_line(error)


def test_blocks_are_the_fields_of_a_recipe() -> None:
    assert set(BLOCKS) | {"name", "title", "cluster"} == set(Recipe.__dataclass_fields__)
