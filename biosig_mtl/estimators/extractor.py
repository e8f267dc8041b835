"""`FeatureExtractor`: windows of signals → a table of features, in the grammar of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import validate_data

from biosig_mtl import features
from biosig_mtl.estimators.windowed import features_of, kind_of, preparation_of
from biosig_mtl.pipeline import Preparation
from biosig_mtl.recipe import Recipe
from biosig_mtl.types import F32, ChannelInfo, RecipeError


class FeatureExtractor(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Features of windows (n, channels, time) by the signal steps and families of this package; nothing is learned.

    Parameters
    ----------
    fs
        Rate of the windows in Hz.
    channels
        Our names of the channels, in the order of X: ``ppg``, ``ecg``, ``eda``, ``temp``, ``resp``, electrodes (``F3``).
    kinds
        What each channel measures; None: by its name.
    families
        Names of `biosig_mtl.features.FEATURES`, in the order of the columns. With a recipe: in place of its own.
    recipe
        Name, path or value of a recipe, whose steps and features are used; its rules for windows and its waveforms are not.
        None: the usual steps for the channels (pulse and ECG at 125 Hz, 0.5–12 and 0.5–40 Hz; EEG 1–45 Hz, average reference).

    Notes
    -----
    A window alone has no context. Filters start at its edges, a beat that begins before it is not whole, and no quality is
    known of its surroundings: features differ from those that the pipeline takes from a whole recording. How much they do
    stands, measured, in ``docs/estimators.md``; where the recording is at hand, prepare it whole.

    Every window has a row: NaN where a feature does not exist, NaN throughout where a gap is too long to be bridged. A row does
    not depend on the other windows. What is known of a person is not in the signals: families of it (``person``) are NaN.

    Examples
    --------
    >>> t = np.arange(1000) / 125
    >>> pulse = np.sin(2 * np.pi * 1.2 * t) + 0.3 * np.sin(4 * np.pi * 1.2 * t)
    >>> made = FeatureExtractor(fs=125, families=("rate",)).fit_transform(np.stack([pulse, pulse])[:, None])
    >>> made.shape[0], round(float(60 * 1.2), 1)
    (2, 72.0)
    """

    def __init__(
        self,
        *,
        fs: float = 125.0,
        channels: Sequence[str] = ("ppg",),
        kinds: Sequence[str] | None = None,
        families: Sequence[str] | None = None,
        recipe: Recipe | str | None = None,
    ) -> None:
        self.fs = fs
        self.channels = channels
        self.kinds = kinds
        self.families = families
        self.recipe = recipe

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002 (the grammar has it)
        """Check the words and the shape of X; nothing is learned from it.

        Raises
        ------
        RecipeError
            A family, recipe or channel is unknown or missing, or a channel is the reference of the recipe's task.
        ValueError
            X has not the shape (window, channel, time), or another number of channels.
        """
        self._made()
        self._checked(X, reset=True)
        return self

    def transform(self, X: Any) -> F32:
        """Return features (n, F), float32; raises as `fit` does."""
        made, names = self._made()
        return features_of(self._checked(X, reset=False), self._infos(), made, names)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002 (the grammar has it)
        """Return the names of the columns; they depend on the parameters alone."""
        return np.array(self._made()[1], dtype=object)

    def _made(self) -> tuple[Preparation, tuple[str, ...]]:
        infos = {info.name: info for info in self._infos()}
        made = preparation_of(self.recipe, self.families, infos)
        present = dict(infos)
        for step in made.steps:
            present = dict(step.plan(present))
        for name in made.windowing.channels:
            if name not in present:
                has = ", ".join(present)
                raise RecipeError(
                    f"need channel '{name}' for these features; X has {', '.join(infos)} (with what is made: {has})"
                )
        return made, features.plan(made.features, present, made.task)[0]

    def _infos(self) -> tuple[ChannelInfo, ...]:
        names = tuple(self.channels)
        kinds = tuple(self.kinds) if self.kinds is not None else tuple(kind_of(name) for name in names)
        if not names or len(set(names)) < len(names) or len(kinds) != len(names):
            raise RecipeError(f"need different channel names, and as many kinds, got {len(names)} names and {len(kinds)} kinds")
        if not 0 < float(self.fs) < np.inf:
            raise RecipeError(f"need fs > 0, got {self.fs}")
        return tuple(ChannelInfo(name, kind, "", float(self.fs)) for name, kind in zip(names, kinds, strict=True))

    def _checked(self, X: Any, *, reset: bool) -> F32:
        made: F32 = validate_data(
            self, X, reset=reset, allow_nd=True, dtype=np.float32, ensure_all_finite="allow-nan", order="C"
        )
        if made.ndim != 3 or made.shape[1] != len(tuple(self.channels)) or made.shape[2] == 0:
            raise ValueError(f"need X of shape (window, {len(tuple(self.channels))} channels, time), got {made.shape}")
        return made

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags
