"""Laws of the ablations that come with the package: each is another network, each can be made, each can learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from biosig_mtl import recipe as recipes
from biosig_mtl.experiment import entrants, members
from biosig_mtl.experiment.entrants import Choice
from biosig_mtl.models.merging import Merge
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings
from biosig_mtl.models.splitting import Attention, Masks, Normaliser, SplitHeads
from biosig_mtl.recipe import Recipe
from biosig_mtl.training import TrainingSettings
from biosig_mtl.training.independence import Independence, IndependenceTerm
from biosig_mtl.types import Batch, InputSpec, TrackSpec

ROOT = Path(__file__).parents[1]
VARIANTS = entrants.read_variants("split_merge")
WAVES = InputSpec(("ppg", "vpg"), 128, ("pulse.a", "hr.mean", "person.age"), ("sbp", "dbp"))
FEATURES = InputSpec((), 0, ("pulse.a", "hr.mean", "person.age"), ("sbp", "dbp", "map"))
TRACKS = InputSpec((), 0, ("eda.scl", "hr.mean"), ("valence", "arousal"), (TrackSpec("eda", ("eda",), 40, 4.0),))
WHAT_CHOICES_THERE_ARE: dict[str, tuple[str, ...]] = {
    "masks": get_args(Masks),
    "mask_normaliser": get_args(Normaliser),
    "split_heads": get_args(SplitHeads),
    "attention": get_args(Attention),
    "merge": get_args(Merge),
    "mi": get_args(Independence),
}


@pytest.fixture(scope="module")
def base() -> Recipe:
    read = recipes.load("demo_bp")
    return replace(read, model={"name": "split_merge", "width": 16, "stride": 32})


def batch_of(spec: InputSpec, size: int = 8) -> Batch:
    rng = torch.Generator().manual_seed(0)
    return Batch(
        torch.randn(size, len(spec.waveform_channels), spec.samples, generator=rng),
        torch.randn(size, len(spec.features), generator=rng),
        torch.zeros(size, len(spec.features), dtype=torch.bool),
        torch.randn(size, len(spec.targets), generator=rng),
        torch.ones(size),
        {t.name: torch.randn(size, len(t.channels), t.samples, generator=rng) for t in spec.tracks},
        {t.name: torch.ones(size, len(t.channels), dtype=torch.bool) for t in spec.tracks},
    )


def words_of(changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what a variant changes, without the network that it names."""
    whole = {**changes.get("model", {}), **changes.get("training", {})}
    return {word: value for word, value in whole.items() if word != "name"}


def changed(base: Recipe, label: str) -> Recipe:
    changes = VARIANTS[label]
    return replace(base, model={**base.model, **changes["model"]}, training={**base.training, **changes.get("training", {})})


@pytest.mark.parametrize("label", VARIANTS)
@pytest.mark.parametrize("spec", [WAVES, FEATURES, TRACKS], ids=["waves", "features", "tracks"])
def test_every_variant_can_be_made_and_learns(base: Recipe, label: str, spec: InputSpec) -> None:
    name, made, training = members.settings(changed(base, label))
    assert name == "split_merge"
    model = members.fresh(name, made, spec, 0)
    assert isinstance(model, SplitMerge)
    out = model(batch_of(spec))
    assert out.predictions.shape == (8, len(spec.targets))
    loss = out.predictions.square().mean()
    if training.penalises_dependence:
        assert out.splits is not None
        term = IndependenceTerm(training.mi, training.mi_pairs, out.splits.shape[1], out.splits.shape[-1])(out.splits)
        assert term is not None
        loss = loss + training.mi_weight * term
    loss.backward()
    told = [p.grad for p in model.parameters() if p.grad is not None]
    assert told
    assert all(torch.isfinite(g).all() for g in told)


def test_every_variant_enters_a_contest_at_the_size_of_the_full_network(base: Recipe) -> None:
    found = {one.label: one for one in entrants.enter(base, WAVES, Choice(("split_merge",), VARIANTS))}
    assert set(found) == {"single_task", "split_merge", *VARIANTS}
    for label in VARIANTS:
        # Widths come in steps: a narrow network can only be near.
        assert found[label].parameters == pytest.approx(found["split_merge"].parameters, rel=0.3)


def test_recipes_of_other_networks_can_be_asked_too(base: Recipe) -> None:
    other = replace(base, model={"name": "mtan", "width": 16})
    found = entrants.enter(other, FEATURES, Choice((), VARIANTS, matched=False))
    assert all(one.recipe.model["name"] == "split_merge" for one in found if one.label in VARIANTS)


def test_each_variant_changes_something_and_no_two_the_same() -> None:
    # In a contest nothing stands beside networks unless a variant says so.
    usual = {**vars(SplitMergeSettings()), **vars(TrainingSettings()), **entrants.BESIDE}
    seen = [words_of(changes) for changes in VARIANTS.values()]
    for words in seen:
        assert words
        assert all(usual[word] != value for word, value in words.items())
    assert len({repr(sorted(words.items())) for words in seen}) == len(seen)


def test_every_form_that_there_is_has_a_variant() -> None:
    asked = {(word, value) for changes in VARIANTS.values() for word, value in words_of(changes).items()}
    whole = {**vars(SplitMergeSettings()), **vars(TrainingSettings())}
    usual = {(word, whole[word]) for word in WHAT_CHOICES_THERE_ARE}
    forms = {(word, value) for word, values in WHAT_CHOICES_THERE_ARE.items() for value in values}
    assert forms <= asked | usual


def test_labels_make_folders_of_their_own() -> None:
    folders = {"".join(c if c.isalnum() or c in "-_." else "_" for c in label) for label in VARIANTS}
    assert len(folders) == len(VARIANTS)
    assert all(folder.isascii() for folder in folders)


def test_the_page_tells_of_every_variant() -> None:
    page = (ROOT / "docs" / "ablations.md").read_text(encoding="utf-8")
    assert not [label for label in VARIANTS if f"| {label} |" not in page]
