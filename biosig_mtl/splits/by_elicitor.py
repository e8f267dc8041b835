"""Folds over what was shown: EPiC's quadrants of valence and arousal, and the two versions of each kind of stimulus."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from biosig_mtl.splits.drawing import Draw
from biosig_mtl.splits.keys import Keys, Names
from biosig_mtl.splits.protocol import QUADRANTS, Protocol
from biosig_mtl.types import F64, DataError, Fold, RecipeError


def epic_elicitor(draw: Draw) -> list[Fold]:
    """Leave all stimuli of one quadrant out; everybody is learned from in the others.

    Quadrants are those of ``split.quadrants``, or of the mean rating of each stimulus. All people are on the training side, so
    the ratings that place a stimulus are those of training people; but they are ratings *of the test stimulus* too. They
    decide which fold it is in and nothing else.
    """
    given = draw.protocol.quadrants
    quadrant = _placed(draw.keys, given, "split.quadrants") if given else _rated(draw.keys, draw.protocol)
    there = [name for name in QUADRANTS if (quadrant == name).any()]
    if len(there) < 2:
        raise DataError(f"all stimuli are rated {there[0]}: there is no other quadrant to learn from; say split.quadrants")
    return [draw.fold("stimulus", quadrant != name, quadrant == name, k) for k, name in enumerate(there)]


def epic_version(draw: Draw) -> list[Fold]:
    """Learn from one version of each kind of stimulus and test on the other, and the other way round.

    Validation trials are drawn from the training version, each person's own: with one stimulus of each kind, whole stimuli
    would leave a kind out.
    """
    if not draw.protocol.versions:
        known = ", ".join(np.unique(draw.keys.stimulus)[:12])
        raise RecipeError(f"split.scheme 'epic_version' needs split.versions, the version of each stimulus: {known}")
    version = _placed(draw.keys, draw.protocol.versions, "split.versions")
    both = np.unique(version)
    if both.size < 2:
        raise DataError(f"split.versions: all stimuli of the table are of version '{both[0]}'")
    return [draw.fold("trial", version != name, version == name, k) for k, name in enumerate(both)]


def _placed(keys: Keys, given: Mapping[str, str], where: str) -> Names:
    """Return the place of every window's stimulus; refuse stimuli that the map does not know."""
    stimuli, code = np.unique(keys.stimulus, return_inverse=True)
    if missing := [name for name in stimuli.tolist() if name not in given]:
        raise RecipeError(f"{where}: stimulus '{missing[0]}' is missing ({len(missing)} of {stimuli.size} are)")
    return np.array([given[name] for name in stimuli.tolist()])[code]


def _rated(keys: Keys, protocol: Protocol) -> Names:
    """Return the quadrant of every window by the mean rating of its stimulus, each person weighing the same."""
    names = keys.table.target_names
    if not {"valence", "arousal"} <= set(names):
        raise RecipeError(
            f"split.scheme 'epic_elicitor' needs valence and arousal, the targets are {', '.join(names)}; say split.quadrants"
        )
    high = {name: _mean_rating(keys, names.index(name)) > protocol.quadrant_edge for name in ("valence", "arousal")}
    parts = [np.where(high[name], "H", "L") for name in ("valence", "arousal")]
    words = np.strings.add(np.strings.add(parts[0], "V"), np.strings.add(parts[1], "A"))
    return words[keys.code("stimulus")]


def _mean_rating(keys: Keys, target: int) -> F64:
    """Return the mean over people of their mean rating of each stimulus, shape (stimulus,)."""
    stimulus, subject = keys.code("stimulus"), keys.code("subject")
    value = keys.table.targets[:, target].astype(np.float64)
    known = ~np.isnan(value)
    shape = (int(stimulus.max()) + 1, int(subject.max()) + 1)
    total, count = np.zeros(shape), np.zeros(shape)
    np.add.at(total, (stimulus[known], subject[known]), value[known])
    np.add.at(count, (stimulus[known], subject[known]), 1)
    people = (count > 0).sum(axis=1)
    if (people == 0).any():
        name = keys.stimulus[int(np.argmax(stimulus == np.argmin(people)))]
        raise DataError(f"stimulus '{name}' has no {keys.table.target_names[target]}: nobody rated it; say split.quadrants")
    mean = np.divide(total, count, out=np.zeros(shape), where=count > 0)
    return np.asarray(mean.sum(axis=1) / people)
