"""A run made one person's own by a few cuff readings.

`personalise` takes a recording during which readings were taken; the `Personal` that comes of it answers for that person, and
is kept as one small file. How well this works is what ``calibrate`` measures on the people of the run; the methods are in
`biosig_mtl.training.calibration`. Source of the idea of a budget: on-device sparse update, see
`biosig_mtl.training.calibration.last_split`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.inference import personal_file
from biosig_mtl.inference.personal_ensemble import Anchors, PersonalEnsemble, some
from biosig_mtl.inference.personal_file import Content
from biosig_mtl.inference.personal_readings import Reading, check_readings, truth_of, windows_of
from biosig_mtl.inference.predictor import Predictor
from biosig_mtl.inference.writing import put
from biosig_mtl.recipe import choose
from biosig_mtl.training import Predicted
from biosig_mtl.training.calibration import keeping as keepings
from biosig_mtl.training.calibration.keeping import Fitted, Keeping
from biosig_mtl.training.calibration.known import MAIN, Person, Shown, View
from biosig_mtl.training.calibration.last_split import LastSplit
from biosig_mtl.training.calibration.looking import stem_of
from biosig_mtl.training.calibration.methods import METHODS
from biosig_mtl.training.calibration.offset import Offset
from biosig_mtl.training.calibration.tail import Bytes, Tail, bytes_for, parts_within
from biosig_mtl.training.checkpoint import Ensemble
from biosig_mtl.types import DataError, Entry, RecipeError, Rejected, Source, WindowTable

if TYPE_CHECKING:
    import pandas as pd

    from biosig_mtl.training.calibration.last_split import Own

PLAIN = "offset"
"""The method that needs no fit, for a run that was not calibrated."""


@dataclass(frozen=True, eq=False)
class Personal:
    """A run for one person: frozen, `predict` as `Predictor.predict`, kept by `save`.

    ``memory`` tells the bytes that tuning took, None where the method tunes nothing.
    """

    predictor: Predictor
    content: Content
    memory: Bytes | None = None

    @property
    def method(self) -> str:
        """The method."""
        return self.content.fitted.method

    @cached_property
    def raw(self) -> bytes:
        """The file, as bytes."""
        return personal_file.to_bytes(self.content, self.predictor.ensemble.spec)

    @property
    def megabytes(self) -> float:
        """What the file takes, or tuning did where that was more, in MB of 10⁶ bytes."""
        return max(len(self.raw), 0 if self.memory is None else self.memory.total) / 1e6

    def as_predictor(self, began_s: float | None = None) -> Predictor:
        """Return a `Predictor` whose estimates are this person's, for all that takes one (a stream, say).

        Parameters
        ----------
        began_s
            When the recordings that it will see begin, in seconds after the start of the one with the readings; 0 is that one.
            None: one that holds the windows of the readings is that one, and any other is taken to be of another time, when a
            reading is trusted less.
        """
        half = self.content.fitted.half_width
        ensemble = PersonalEnsemble(
            self.predictor.ensemble, self.content.fitted, self.content.standard, self.content.anchors, self._own(), began_s
        )
        # Intervals of the run are those of strangers: what is known of calibrated people takes their place.
        return replace(self.predictor, ensemble=cast("Ensemble", ensemble), half_width=half, intervals=None)

    def predict(
        self,
        source: Source,
        entry: Entry,
        without: tuple[str, ...] = (),
        rest_s: tuple[float, float] | None = None,
        began_s: float | None = None,
    ) -> tuple[pd.DataFrame, list[Rejected], list[str]]:
        """Return this person's estimates; see `Predictor.predict`, and `as_predictor` for ``began_s``.

        Intervals are 90 % of calibrated strangers' errors, where calibrate has measured them, and NaN otherwise.
        """
        return self.as_predictor(began_s).predict(source, entry, without, rest_s)

    def save(self, path: Path) -> None:
        """Write the file, by rename; raise `DataError` where that cannot be."""
        put(path, self.raw)

    def _own(self) -> Own | None:
        import torch

        found: dict[str, dict[str, torch.Tensor]] = {}
        for name, x in self.content.own.items():
            network, _, tensor = name.partition("/")
            found.setdefault(network, {})[tensor] = torch.from_numpy(np.array(x))
        return found or None


def load(run: Path, path: Path) -> Personal:
    """Load a personal file with the run that it was made with.

    Raises
    ------
    DataError
        The file is none, was altered, or was made with another run.
    """
    predictor = Predictor.load(run)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: missing or not readable: write one with personalise") from error
    content = personal_file.from_bytes(raw, predictor.ensemble.spec, path)
    if content.model_sha256 != keepings.digest(run / "model" / "model.json"):
        raise DataError(f"{path}: was made with another run than {run}: personalise with this run")
    return Personal(predictor, content)


def keeping_of(run: Path, calibrated: Path | None = None) -> Keeping | None:
    """Return what calibrate has fitted for a run: in ``calibrated``, or in the run folder; None where nothing is there.

    Raises
    ------
    DataError
        ``calibrated`` is given and holds nothing, or what is there is of another run or altered.
    """
    places = [run] if calibrated is None else [calibrated / keepings.FOLDER, calibrated]
    if calibrated is None:
        places = [run / keepings.FOLDER]
    for place in places:
        if (place / keepings.WORDS_FILE).is_file():
            return keepings.load(place, run / "model" / "model.json")
    if calibrated is not None:
        raise DataError(f"{calibrated}: holds no fitted methods ({keepings.WORDS_FILE}): run calibrate for this run first")
    return None


@dataclass(frozen=True)
class Wish:
    """How to personalise.

    Parameters
    ----------
    method
        A name of `METHODS`; None: the one that calibrate chose for as many readings, or `PLAIN` without that.
    max_mb
        Most megabytes (10⁶ bytes) that the file may take, and for ``last_split`` tuning: what is kept for good, gradients, the
        optimiser, what the way back needs, and inputs. Fewer tensors are tuned where that keeps it. None: no limit.
    calibrated
        Folder that calibrate wrote; None: the run folder, if it holds any.
    """

    method: str | None = None
    max_mb: float | None = None
    calibrated: Path | None = None

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.method is not None:
            choose(self.method, METHODS, "method of personal calibration")
        if self.max_mb is not None and not self.max_mb > 0:
            raise RecipeError(f"need max_mb > 0, got {self.max_mb:g}")


USUAL = Wish()


def personalise(run: Path, source: Source, entry: Entry, readings: Sequence[Reading], wish: Wish = USUAL) -> Personal:
    """Make a run a person's own.

    Parameters
    ----------
    run
        Run folder.
    source, entry
        The recording during which the readings were taken, opened, and what is known of it.
    readings
        What the cuff read, and when.
    wish
        See `Wish`.

    Raises
    ------
    RecipeError
        Readings are implausible or of targets that the run does not have, the method needs a fit that is not there, or
        ``max_mb`` is too small (the smallest that would do is told).
    DataError
        The recording has no usable window near a reading, or the run or its fitted methods cannot be read.
    """
    predictor = Predictor.load(run)
    check_readings(readings, predictor.targets)
    _refuse_classes(predictor)
    fitted, standard = _method(run, wish, len(readings), len(predictor.targets))
    if standard is not None and standard.names != predictor.ensemble.spec.features:
        raise DataError(f"{run}: its fitted methods know other features than its networks: calibrate this run again")
    anchors = _anchors(predictor, source, entry, readings)
    content = Content(keepings.digest(run / "model" / "model.json"), fitted, standard, anchors, {})
    if isinstance(fitted.calibrator, LastSplit):
        made = _tuned(predictor, content, fitted.calibrator, wish.max_mb)
    else:
        made = Personal(predictor, content)
    if wish.max_mb is not None and made.megabytes > wish.max_mb:
        least = -(-round(made.megabytes * 1e6) // 1000) / 1000
        raise RecipeError(
            f"max_mb {wish.max_mb:g}: too small for method '{made.method}' with these readings, which takes "
            f"{least:g} MB; the method offset takes less"
        )
    return made


def _refuse_classes(predictor: Predictor) -> None:
    for name, head in zip(predictor.targets, predictor.ensemble.spec.head, strict=True):
        if head.classes:
            raise RecipeError(f"the run answers '{name}' in classes; personal calibration takes readings that are numbers")


def _method(run: Path, wish: Wish, readings: int, targets: int) -> tuple[Fitted, keepings.Standard | None]:
    """Return the fitted method to use, and how its features were scaled, None where it looks at none."""
    plain = Fitted(PLAIN, readings, Offset(np.ones(targets)), np.full(targets, np.nan))
    keeping = keeping_of(run, wish.calibrated)
    name = wish.method or (None if keeping is None else keeping.best(readings)) or PLAIN
    found = None if keeping is None else keeping.find(name, readings)
    if found is None and name != PLAIN:
        there = "" if keeping is None else f"; it has {', '.join(sorted({one.method for one in keeping.fitted})) or 'none'}"
        raise RecipeError(
            f"{run}: method '{name}' was not fitted for this run{there}; run calibrate and give its folder, or use offset, "
            "which needs no fit"
        )
    return (plain, None) if found is None or keeping is None else (found, keeping.standard)


@dataclass(frozen=True, eq=False)
class _Listener:
    """An ensemble that remembers the windows it was shown."""

    base: Ensemble
    heard: list[tuple[WindowTable, Predicted]]

    @property
    def spec(self) -> object:
        return self.base.spec

    def predict_full(self, table: WindowTable, without: tuple[str, ...] = ()) -> Predicted:
        found = self.base.predict_full(table, without)
        self.heard.append((table, found))
        return found


def _anchors(predictor: Predictor, source: Source, entry: Entry, readings: Sequence[Reading]) -> Anchors:
    """Return the windows of the readings, as a prediction on this very recording makes them."""
    heard: list[tuple[WindowTable, Predicted]] = []
    listener = cast("Ensemble", _Listener(predictor.ensemble, heard))
    frame, _, _ = replace(predictor, ensemble=listener).predict(source, entry)
    table, found = heard[-1]
    onset, end = (frame[name].to_numpy(np.float64) for name in ("onset_s", "end_s"))
    rows, ordered = windows_of(readings, onset, end, entry.record)
    waveform = any(bool(getattr(one.model, "uses_waveform", True)) for one in predictor.ensemble.members)
    own = some(table, rows, waveform=waveform)
    truth = truth_of(ordered, predictor.targets)
    return Anchors(entry.record, own, onset[rows], frame["sqi"].to_numpy(np.float64)[rows], truth, found.estimates[rows])


def _tuned(predictor: Predictor, content: Content, calibrator: LastSplit, max_mb: float | None) -> Personal:
    """Return a person with tensors of their own, of as many parts as fit."""
    anchors, members = content.anchors, predictor.ensemble.members
    k = len(anchors)
    rows = np.arange(k, dtype=np.int64)
    shown = Shown(
        np.zeros((k, 0)), {MAIN: anchors.estimate}, anchors.truth, predictor.targets, np.zeros(k, np.int64),
        np.zeros(k, np.int64), anchors.onset_s, anchors.sqi,
        views=tuple(View(member, np.ones(k, bool)) for member in members), table=anchors.table,
    )  # fmt: skip
    first = shown.views[0]
    tail = Tail.of(first, stem_of(first, shown))
    if max_mb is None:
        parts = calibrator.parts
    else:
        # What the file takes beside the person's tensors is part of the budget.
        beside = len(personal_file.to_bytes(content, predictor.ensemble.spec)) / 1e6
        parts, _ = parts_within(tail, max_mb, k, len(members), beside)
    calibrator = calibrator.within(parts)
    own = calibrator.tune(shown, Person("the person", rows, np.empty(0, np.int64)))
    flat: Mapping[str, NDArray[np.float32]] = {
        f"{network}/{name}": x.numpy() for network, tensors in own.items() for name, x in tensors.items()
    }
    fitted = replace(content.fitted, calibrator=calibrator)
    memory = bytes_for(tail, calibrator.parts, k, len(members))
    made = Personal(predictor, replace(content, fitted=fitted, own=flat))
    # The file holds what is kept: only the rest comes on top of it.
    return replace(made, memory=replace(memory, kept=len(made.raw)))
