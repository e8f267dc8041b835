"""Windows, features and window tables → pandas and xarray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from biosig_mtl.types import DataError, Features, Windows, WindowTable

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def to_pandas(value: Windows | Features | WindowTable) -> pd.DataFrame:
    """Return one row a window.

    Of windows: who and when, the quality of each channel (``sqi.<channel>``), targets and facts. Of features: a column each.
    Of a table: its index, targets and features side by side. Waveforms do not go into a table of numbers: see `to_xarray`.
    """
    import pandas as pd

    if isinstance(value, Features):
        return pd.DataFrame(value.values, columns=list(value.names))
    if isinstance(value, WindowTable):
        values = pd.DataFrame(value.values, columns=list(value.names))
        told = {n: value.targets[:, k] for k, n in enumerate(value.target_names) if n not in value.index}
        return pd.concat([value.index.reset_index(drop=True), pd.DataFrame(told, index=values.index), values], axis=1)
    who = {name: np.full(len(value), getattr(value, name)) for name in ("record", "subject", "session", "stimulus")}
    quality = {f"sqi.{name}": value.sqi[:, k] for k, name in enumerate(value.channels)}
    targets = {name: value.targets[:, k] for k, name in enumerate(value.target_names)}
    facts = {name: fact for name, fact in value.facts.items() if np.ndim(fact) == 1 and name not in {*who, *targets}}
    return pd.DataFrame({**who, "onset_s": value.onset_s, **quality, **targets, **facts})


def to_xarray(value: Windows | WindowTable) -> xr.Dataset:
    """Return windows with their waveforms as a Dataset over window, channel, time, target and feature.

    ``time`` is in seconds from the start of each window; who and when are coordinates of ``window``.

    Raises
    ------
    DataError
        xarray is not installed.
    """
    try:
        import xarray
    except ImportError as error:
        raise DataError("to_xarray needs xarray: pip install 'biosig-mtl[xarray]'") from error
    content = _windows(value) if isinstance(value, Windows) else _table(value)
    return xarray.Dataset(**content)


def _windows(value: Windows) -> dict[str, Any]:
    index = to_pandas(value)
    shown = [name for name in index if not str(name).startswith("sqi.") and name not in value.target_names]
    return {
        "data_vars": {
            "signal": (("window", "channel", "time"), value.signal),
            "sqi": (("window", "channel"), value.sqi),
            "targets": (("window", "target"), value.targets),
        },
        "coords": {
            "channel": list(value.channels),
            "kind": ("channel", list(value.kinds)),
            "time": ("time", np.arange(value.signal.shape[2]) / value.fs, {"units": "s"}),
            "target": list(value.target_names),
            **{str(name): ("window", _plain(index[name])) for name in shown},
        },
        "attrs": {"fs": value.fs},
    }


def _table(value: WindowTable) -> dict[str, Any]:
    waveform = np.asarray(value.waveform)
    data: dict[str, Any] = {
        "values": (("window", "feature"), np.asarray(value.values)),
        "targets": (("window", "target"), np.asarray(value.targets)),
        "waveform": (("window", "channel", "time"), waveform),
    }
    coords: dict[str, Any] = {
        "feature": list(value.names),
        "target": list(value.target_names),
        "channel": list(value.waveform_channels),
        "time": ("time", np.arange(waveform.shape[2]) / value.fs, {"units": "s"}),
    }
    for name, track in value.tracks.items():
        axes = ("window", f"{name}_channel", f"{name}_time")
        data[f"track_{name}"] = (axes, np.asarray(track.signal), {"fs": track.fs})
        coords |= {axes[1]: list(track.channels), axes[2]: np.arange(track.signal.shape[2]) / track.fs}
    barred = {*data, *coords}
    coords |= {str(c): ("window", _plain(value.index[c])) for c in value.index if c not in barred}
    return {"data_vars": data, "coords": coords, "attrs": {"fs": value.fs}}


def _plain(column: pd.Series[Any]) -> Any:
    """Return a column as an array of a plain type: words as text, whatever pandas keeps them in."""
    return column.to_numpy(dtype=str) if column.dtype.kind in "OU" else column.to_numpy()
