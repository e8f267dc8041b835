"""An exported run that answers windows: ONNX Runtime and numpy, and nothing else.

`Exported` stands where `biosig_mtl.training.checkpoint.Ensemble` stands: it has a ``spec`` and answers tables by
``predict_full``. The estimates are those of the networks in torch to 1e-4 of the unit, which the export has checked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import EMPTY, F32, F64, Bool, DataError, Head, InputSpec, RecipeError, TrackSpec, WindowTable

KEY = "biosig_mtl"
FORMAT = 1
RECIPE_SUFFIX = ".recipe.json"
# Windows times networks that are answered in one go: more only takes memory.
AT_ONCE = 4096


@dataclass(frozen=True)
class Answered:
    """What an exported run says: estimates and ends of intervals (n, T), what each network says (n, M, T), and the shares
    (n, classes) of targets with classes by number; ``weights`` is always empty.

    Estimates are not cut to the scale of a bounded target, as those of an `Ensemble` are not; ``lower`` and ``upper`` are.
    """

    estimates: F64
    lower: F64
    upper: F64
    networks: F64
    probabilities: Mapping[int, F64] = field(default_factory=dict)
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: EMPTY)


class Exported:
    """A run that was exported by `biosig_mtl.export.export`.

    Build it with `Exported.load`.
    """

    def __init__(self, session: Any, told: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
        """Take an opened session, what its file tells of itself, and the recipe beside it (empty where there is none)."""
        self._session, self.told, self.recipe = session, told, recipe
        self.spec = spec_of(told["spec"])
        self._inputs = tuple(given.name for given in session.get_inputs())
        self._outputs = tuple(given.name for given in session.get_outputs())

    @classmethod
    def load(cls, path: Path, threads: int = 1) -> Exported:
        """Open an exported file.

        Parameters
        ----------
        path
            ``model.onnx``. Where ``model.recipe.json`` lies beside it, the file must be the one that it was written with.
        threads
            Of ONNX Runtime; 1 is the fastest for single windows.

        Raises
        ------
        DataError
            The file is not there, is none of ours, was altered, or ONNX Runtime is not installed.
        """
        content = _bytes(path)
        recipe = _recipe(
            path.with_name(path.stem.removesuffix(".int8") + RECIPE_SUFFIX), hashlib.sha256(content).hexdigest(), path
        )
        return cls.of(content, threads, str(path), recipe)

    @classmethod
    def of(cls, content: bytes, threads: int = 1, where: str = "the graph", recipe: Mapping[str, Any] = EMPTY) -> Exported:
        """Open an exported graph that is in memory; see `load`."""
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise DataError("'onnxruntime' is not installed: pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Warnings of the optimiser are no business of whoever only wants estimates.
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            told = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
        except KeyError as error:
            raise DataError(f"{where}: was not written by biosig-mtl export (it tells nothing of itself)") from error
        except Exception as error:  # (ONNX Runtime has errors of its own kinds)
            raise DataError(f"{where}: ONNX Runtime cannot read it: {' '.join(str(error).split())[:160]}") from error
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            known = told.get("format") if isinstance(told, dict) else None
            raise DataError(f"{where}: has format {known}, this version reads {FORMAT}")
        try:
            made = cls(session, told, recipe)
            fits = made._fits()
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise DataError(f"{where}: what it tells of itself cannot be read ({error!r}); export the run anew") from error
        if not fits:
            raise DataError(f"{where}: what it tells of itself is not what it takes and answers; export the run anew")
        return made

    def _fits(self) -> bool:
        """Return whether inputs and outputs of the graph have the shapes that its words promise."""
        takes = {one.name: tuple(one.shape[1:]) for one in self._session.get_inputs()}
        answers = {one.name: list(one.shape) for one in self._session.get_outputs()}
        targets, networks = len(self.targets), len(self.networks)
        whole = all(answers[name][-1] == targets for name in ("estimates", "lower", "upper", "networks"))
        return networks > 0 and whole and answers["networks"][0] == networks and takes == {n: self._shape(n) for n in takes}

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what is estimated."""
        return self.spec.targets

    @property
    def units(self) -> Mapping[str, str]:
        """Their units."""
        return dict(self.told["units"])

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the networks in the file."""
        return tuple(self.told["networks"])

    def predict(self, table: WindowTable) -> F64:
        """Return the mean estimate of all networks for every window of a table (n, T), in the unit of the target."""
        return self.predict_full(table).estimates

    def predict_full(self, table: WindowTable, without: tuple[str, ...] = ()) -> Answered:
        """Answer a table of windows; modalities in ``without`` are treated as not recorded.

        Raises
        ------
        DataError
            The table has other inputs than the networks were made for, or values that are not finite.
        RecipeError
            A modality that the run does not know.
        """
        self._check(table)
        given: dict[str, NDArray[np.floating]] = {"features": np.asarray(table.values, np.float32)}
        given["waveform"] = np.asarray(table.waveform)
        given |= {f"track_{t.name}": np.asarray(table.tracks[t.name].signal) for t in self.spec.tracks}
        return self.answer(self._without({name: given[name] for name in self._inputs}, without))

    def answer(self, given: Mapping[str, NDArray[np.floating]]) -> Answered:
        """Answer arrays by the name of the input, each with windows first; see ``spec`` for the rest of their shapes.

        Raises
        ------
        DataError
            An input is missing or has another shape; a waveform has values that are not finite.
        """
        ready = {name: np.ascontiguousarray(self._checked(name, given), np.float32) for name in self._inputs}
        count = {name: len(x) for name, x in ready.items()}
        if len(set(count.values())) > 1:
            raise DataError(f"need as many windows in every input, got {count}")
        total, step = next(iter(count.values())), max(1, AT_ONCE // len(self.networks))
        starts = range(0, total, step) if total else ()
        parts = [self._session.run(None, {k: x[a : a + step] for k, x in ready.items()}) for a in starts]
        return self._told(parts)

    def _told(self, parts: list[list[F32]]) -> Answered:
        made: dict[str, F64] = {}
        for i, name in enumerate(self._outputs):
            axis = 1 if name == "networks" else 0
            found = [part[i] for part in parts] or [self._nothing(name)]
            made[name] = np.concatenate(found, axis=axis).astype(np.float64)
        shares = {t: made[f"probabilities_{name}"] for t, name in enumerate(self.targets) if f"probabilities_{name}" in made}
        plain = made.get("uncut", made["estimates"])
        return Answered(plain, made["lower"], made["upper"], np.moveaxis(made["networks"], 0, 1), shares)

    def _nothing(self, name: str) -> F32:
        if name == "networks":
            return np.empty((len(self.networks), 0, len(self.targets)), np.float32)
        if not name.startswith("probabilities_"):
            return np.empty((0, len(self.targets)), np.float32)
        head = self.spec.head[self.targets.index(name.removeprefix("probabilities_"))]
        return np.empty((0, head.classes), np.float32)

    def _checked(self, name: str, given: Mapping[str, NDArray[np.floating]]) -> NDArray[np.floating]:
        if name not in given:
            raise DataError(f"the input '{name}' is missing; there are {', '.join(given) or 'none'}")
        x, wanted = np.asarray(given[name]), self._shape(name)
        if x.shape[1:] != wanted:
            raise DataError(f"the input '{name}' needs the shape (windows, {', '.join(map(str, wanted))}), got {x.shape}")
        if name == "waveform":
            self._refuse(np.asarray(~np.isfinite(x).all(axis=2)), self.spec.waveform_channels)
        elif name != "features":
            track = self._track(name)
            whole = np.asarray(np.isfinite(x.sum(axis=2, dtype=np.float64)))
            self._refuse(np.asarray(~whole & ~np.isnan(x).all(axis=2)), track.channels)
        return x

    def _shape(self, name: str) -> tuple[int, ...]:
        if name == "features":
            return (len(self.spec.features),)
        if name == "waveform":
            return len(self.spec.waveform_channels), self.spec.samples
        track = self._track(name)
        return len(track.channels), track.samples

    def _track(self, name: str) -> TrackSpec:
        return next(track for track in self.spec.tracks if f"track_{track.name}" == name)

    def _refuse(self, bad: Bool, channels: tuple[str, ...]) -> None:
        if bad.any():
            window, channel = np.argwhere(bad)[0]
            raise DataError(f"window {window}: channel '{channels[channel]}' has values that are not finite")

    def _without(self, given: dict[str, NDArray[np.floating]], names: tuple[str, ...]) -> dict[str, NDArray[np.floating]]:
        known = self.spec.modalities
        for name in names:
            if name not in known:
                raise RecipeError(f"unknown modality '{name}'; choose from {', '.join(known)}")
            if known[name] and "features" in given:
                given["features"] = given["features"].copy()
                given["features"][:, list(known[name])] = np.nan
            if f"track_{name}" in given:
                given[f"track_{name}"] = np.full_like(given[f"track_{name}"], np.nan)
        return given

    def _check(self, table: WindowTable) -> None:
        for what, has, needs in (
            ("features", tuple(table.names), self.spec.features),
            ("waveform channels", tuple(table.waveform_channels), self.spec.waveform_channels),
        ):
            if has != needs:
                odd = sorted(set(has) ^ set(needs)) or ["their order"]
                raise DataError(f"the window table has other {what} than the model was made for: {', '.join(odd[:5])}")
        for track in self.spec.tracks:
            if track.name not in table.tracks:
                raise DataError(f"the model was made for a track '{track.name}'; the table has no such track")


def spec_of(told: Mapping[str, Any]) -> InputSpec:
    """Read the inputs that a file tells."""
    tracks = tuple(TrackSpec(t["name"], tuple(t["channels"]), int(t["samples"]), float(t["fs"])) for t in told["tracks"])
    heads = tuple(Head(**{**head, "edges": tuple(head["edges"])}) for head in told["heads"])
    waveform, features, targets = (tuple(told[key]) for key in ("waveform_channels", "features", "targets"))
    return InputSpec(waveform, int(told["samples"]), features, targets, tracks, heads)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: missing or not readable: write it with biosig-mtl export") from error


def _recipe(path: Path, sha256: str, model: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return EMPTY
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = dict(content["sha256"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not readable: copy it again, or export the run anew") from error
    if sha256 not in known.values():
        raise DataError(
            f"{model}: was altered after the export (its sha256 is not the one in {path.name}): export the run anew"
        )
    return content
