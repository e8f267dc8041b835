"""Who enters a contest of models: networks by name or variants of the recipe's own, matched in size, with equal trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from biosig_mtl import models
from biosig_mtl.experiment import answers, members
from biosig_mtl.models.network import NetworkSettings
from biosig_mtl.recipe import Recipe, choose, find_shipped
from biosig_mtl.recipe_text import read_yaml
from biosig_mtl.types import InputSpec, RecipeError

SINGLE = "single_task"
# What stands beside a network and answers with it, and how it is switched off.
BESIDE = {"kernel_landmarks": 0, "linear_skip": False}
# What each trial changes of the recipe, in this order; every entrant gets the same number of them.
TRIALS: tuple[dict[str, float], ...] = (
    {},
    {"lr": 3.0},
    {"lr": 1 / 3},
    {"weight_decay": 4.0, "dropout": 0.5},
    {"lr": 3.0, "weight_decay": 4.0, "dropout": 0.5},
    {"lr": 1 / 3, "dropout": 0.0},
)
WIDEST = 256


@dataclass(frozen=True)
class Entrant:
    """One contestant: a label, its recipe, its size; ``apart`` is trained once for each target, alone."""

    label: str
    recipe: Recipe
    apart: bool
    parameters: int
    width: int | None

    def groups(self) -> tuple[tuple[str, Recipe], ...]:
        """Return the recipes that are trained, each with a word for its folder."""
        if not self.apart:
            return (("all", self.recipe),)
        _, heads = answers.of(self.recipe)
        return tuple(
            (name, replace(self.recipe, model={**self.recipe.model, answers.WORD: {name: asdict(head)}}))
            for name, head in heads.items()
        )


@dataclass(frozen=True)
class Choice:
    """What enters, and on what terms.

    ``models`` are names of networks; ``variants`` are changes to the recipe by label: ``{model: {…}, training: {…}}``. Sizes
    are matched to ``parameters``, to the recipe's own network where that is None; with ``matched`` False all keep the width of
    the recipe. What stands beside networks (the linear skip, the kernel ridge) is left out unless ``beside``: with it they
    answer nearly alike, whatever is between.
    """

    models: tuple[str, ...] = ()
    variants: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None
    parameters: int | None = None
    matched: bool = True
    beside: bool = False


def read_variants(path: str | Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Read a YAML of variants by label, a file or the name of one that comes with the package.

    Raises
    ------
    RecipeError
        It is not ``label: {model: {…}, training: {…}}``.
    """
    found = find_shipped(path, "pipelines/variants", "set of variants")
    content = read_yaml(found)
    if not isinstance(content, dict) or not content:
        raise RecipeError(f"{found}: need a mapping from label to changes, got {type(content).__name__}")
    for label, changes in content.items():
        blocks = set(changes or {}) if isinstance(changes or {}, dict) else {"?"}
        if not blocks <= {"model", "training"} or not all(isinstance(block, dict) for block in (changes or {}).values()):
            raise RecipeError(
                f"{found}: '{label}': need changes of model and training, got {', '.join(sorted(map(str, blocks)))}"
            )
    return {str(label): changes or {} for label, changes in content.items()}


def _are_changes(changes: object) -> bool:
    if not isinstance(changes, dict):
        return False
    return set(changes) <= {"model", "training"} and all(isinstance(block, dict) for block in changes.values())


def enter(recipe: Recipe, spec: InputSpec, choice: Choice) -> list[Entrant]:
    """Return the contestants of a recipe, single-task networks first: they are what all others are measured by.

    Raises
    ------
    RecipeError
        An unknown network, or one that cannot be made for these inputs.
    """
    base = _alone(recipe) if not choice.beside else recipe
    wanted = choice.parameters or _count(base, spec)
    names = [SINGLE, *(choose(name, models.MODELS, "model") for name in choice.models if name != SINGLE)]
    found = [_named(base, name) for name in dict.fromkeys(names)]
    for label, changes in (choice.variants or {}).items():
        if label in models.MODELS:
            raise RecipeError(f"variant '{label}' has the name of a network; give it another")
        found.append((label, _changed(base, changes)))
    return [_matched(label, made, spec, wanted if choice.matched else None) for label, made in found]


def fitting(recipe: Recipe, spec: InputSpec) -> tuple[str, ...]:
    """Return the networks that can be made for these inputs (HiSTN looks at an EEG and at nothing else)."""
    found = []
    for name in models.MODELS:
        try:
            _count(_named(_alone(recipe), name)[1], spec)
        except RecipeError:
            continue
        found.append(name)
    return tuple(found)


def trial(recipe: Recipe, number: int) -> Recipe:
    """Return the recipe as trial ``number`` changes it."""
    changes = TRIALS[number]
    _, made, training = members.settings(recipe)
    told = {word: factor * getattr(training, word) for word, factor in changes.items() if word != "dropout"}
    model = dict(recipe.model)
    if "dropout" in changes and hasattr(made, "dropout"):
        model["dropout"] = changes["dropout"]
    return replace(recipe, training={**recipe.training, **told}, model=model)


def _alone(recipe: Recipe) -> Recipe:
    return replace(recipe, model={**recipe.model, **BESIDE})


def _named(base: Recipe, name: str) -> tuple[str, Recipe]:
    """Return a network with those words of the recipe that it knows."""
    known = {field.name for field in fields(models.MODELS[name].settings)} | {answers.WORD}
    kept = {word: value for word, value in base.model.items() if word in known}
    return name, replace(base, model={**kept, "name": name}, training={**base.training, "ensemble": 1})


def _changed(base: Recipe, changes: Mapping[str, Mapping[str, Any]]) -> Recipe:
    name = str(changes.get("model", {}).get("name", base.model.get("name", "split_merge")))
    _, start = _named(base, choose(name, models.MODELS, "model"))
    return replace(
        start,
        model={**start.model, **changes.get("model", {})},
        training={**start.training, **changes.get("training", {})},
    )


def _matched(label: str, recipe: Recipe, spec: InputSpec, wanted: int | None) -> Entrant:
    """Give a network the width with which it comes nearest to the number of parameters; one without a width stays as it is."""
    name, made, _ = members.settings(recipe)
    apart = name == SINGLE
    tried: dict[int, int] = {}

    def count(width: int) -> int:
        if width not in tried:
            tried[width] = _count(_wide(recipe, width), spec)
        return tried[width]

    if wanted is None or not isinstance(made, NetworkSettings):
        return Entrant(label, recipe, apart, _count(recipe, spec), getattr(made, "width", None))
    step = max(2, int(getattr(made, "heads", 1)))
    low, high = 4 + -4 % step, WIDEST - WIDEST % step
    while high - low > step:
        middle = low + (high - low) // (2 * step) * step
        low, high = (middle, high) if count(middle) <= wanted else (low, middle)
    width = min((low, high), key=lambda w: abs(count(w) - wanted))
    return Entrant(label, _wide(recipe, width), apart, count(width), width)


def _wide(recipe: Recipe, width: int) -> Recipe:
    return replace(recipe, model={**recipe.model, "width": width})


def _count(recipe: Recipe, spec: InputSpec) -> int:
    """Return the number of parameters of a recipe's network (of all its networks, for single-task ones)."""
    name, made, _ = members.settings(recipe)
    return sum(p.numel() for p in members.fresh(name, made, spec, 0).parameters())


def protocol_of(recipe: Recipe, seeds: Sequence[int]) -> Recipe:
    """Return the recipe with other seeds and without the controls that a single run trains beside its model."""
    split = {**recipe.split, "seeds": tuple(seeds), "ablations": (), "negative_control": False}
    return replace(recipe, split=split)


__all__ = ["SINGLE", "TRIALS", "Choice", "Entrant", "enter", "protocol_of", "read_variants", "trial"]
