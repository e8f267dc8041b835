"""All chosen networks of a run as one: from what a window is, unscaled and with gaps, to estimates in the unit of the target.

    features (n, F), NaN = missing → scale, impute, clip ┐
    waveform (n, C, L)             → scale, clip         ├→ M networks → unit of the target → mean → lower, upper
    tracks   (n, C, L), NaN = none → scale, clip         ┘

The scaling is that of `biosig_mtl.training.scaling` in the same precision (features in double); the mean is that of
`biosig_mtl.training.prediction`. Networks of one form run side by side on stacked weights (`torch.vmap`): 75 networks are
as many operations as one.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from biosig_mtl.export.rules import InOtherWords
from biosig_mtl.tasks import TASKS
from biosig_mtl.training.checkpoint import Member
from biosig_mtl.training.prediction import as_network
from biosig_mtl.training.scaling import BY_WINDOW, CLIP, WAVEFORM_CLIP
from biosig_mtl.types import F64, Batch, Head, InputSpec, Output

FEATURES, WAVEFORM, TRACK = "features", "waveform", "track_"
ESTIMATES, LOWER, UPPER, EACH, UNCUT = "estimates", "lower", "upper", "networks", "uncut"
SHARES = "probabilities_"


def inputs_of(members: Sequence[Member], spec: InputSpec) -> dict[str, tuple[int, ...]]:
    """Return the inputs that the networks look at, by name, with their shapes without the number of windows."""
    nets = [as_network(member.model) for member in members]
    found: dict[str, tuple[int, ...]] = {FEATURES: (len(spec.features),)} if spec.features else {}
    if any(net.uses_waveform for net in nets):
        found[WAVEFORM] = (len(spec.waveform_channels), spec.samples)
    used = {name for net in nets for name in net.uses_tracks}
    return found | {f"{TRACK}{t.name}": (len(t.channels), t.samples) for t in spec.tracks if t.name in used}


class One(nn.Module):
    """One network with its scales, as a module whose whole state can be stacked with that of others."""

    def __init__(self, member: Member, tracks: Sequence[str]) -> None:
        super().__init__()
        self.model, scaler = member.model, member.scaler

        def keep(name: str, value: Any, kind: torch.dtype = torch.float64) -> None:
            self.register_buffer(name, torch.as_tensor(np.array(value), dtype=kind))

        alive = scaler.feature_scale > 0
        keep("feature_center", scaler.feature_center)
        keep("feature_scale", np.where(alive, scaler.feature_scale, 1.0))
        keep("feature_dead", ~alive, torch.bool)
        keep("waveform_center", scaler.waveform_center[:, None], torch.float32)
        keep("waveform_scale", scaler.waveform_scale[:, None], torch.float32)
        keep("target_mean", scaler.target_mean)
        keep("target_scale", scaler.target_scale)
        self.fitted = tuple(name for name in tracks if name not in BY_WINDOW)
        for name in self.fitted:
            center, scale = scaler.tracks[name]
            keep(f"track_center_{name}", center[:, None], torch.float32)
            keep(f"track_scale_{name}", scale[:, None], torch.float32)

    def forward(self, given: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return estimates (n, T) in the unit of the target, double, and logits (n, T, O), empty where there are no classes."""
        out: Output = self.model(self._batch(given))
        center, scale = (cast("Tensor", getattr(self, name)) for name in ("target_mean", "target_scale"))
        logits = out.predictions.new_zeros((out.predictions.shape[0], 0)) if out.logits is None else out.logits
        return out.predictions.double() * scale + center, logits.double()

    def _batch(self, given: Mapping[str, Tensor]) -> Batch:
        any_ = next(iter(given.values()))
        bare = any_.new_zeros((any_.shape[0], 0), dtype=torch.float32)
        values, missing = self._features(given[FEATURES]) if FEATURES in given else (bare, bare.bool())
        waveform = self._scaled(given[WAVEFORM], "waveform") if WAVEFORM in given else bare[:, None]
        tracks, present = {}, {}
        for key, raw in given.items():
            if key.startswith(TRACK):
                name = key.removeprefix(TRACK)
                tracks[name], present[name] = self._track(name, raw)
        spec = as_network(self.model).spec
        targets = any_.new_zeros((any_.shape[0], len(spec.targets)), dtype=torch.float32)
        return Batch(waveform, values, missing, targets, targets[:, 0], tracks, present)

    def _features(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        missing = ~torch.isfinite(raw)
        center, scale, dead = (cast("Tensor", getattr(self, f"feature_{word}")) for word in ("center", "scale", "dead"))
        scaled = (torch.where(missing, 0.0, raw.double()) - center) / scale
        return torch.where(missing | dead, 0.0, scaled.clamp(-CLIP, CLIP)).float(), missing

    def _scaled(self, raw: Tensor, what: str) -> Tensor:
        center, scale = (cast("Tensor", getattr(self, word)) for word in (f"{what}_center", f"{what}_scale"))
        return ((raw - center) / scale).clamp(-WAVEFORM_CLIP, WAVEFORM_CLIP)

    def _track(self, name: str, raw: Tensor) -> tuple[Tensor, Tensor]:
        present = torch.isfinite(raw.double().sum(2))
        filled = torch.where(present[..., None], raw, 0.0)
        if name in self.fitted:
            center, scale = (cast("Tensor", getattr(self, f"track_{word}_{name}")) for word in ("center", "scale"))
            scaled = (filled - center) / scale
        else:
            scaled = by_window(filled, present)
        return torch.where(present[..., None], scaled.clamp(-WAVEFORM_CLIP, WAVEFORM_CLIP), 0.0), present


def by_window(raw: Tensor, present: Tensor) -> Tensor:
    """Return waveforms (n, C, L) about their means, over the median spread of the channels that are there and alive."""
    centred = raw - raw.mean(2, keepdim=True)
    spread = torch.sqrt((centred * centred).mean(2))
    alive = present & (spread > 0)
    ordered = torch.sort(torch.where(alive, spread, torch.inf), dim=1).values
    count = alive.sum(1, keepdim=True)
    low, high = _at(ordered, (count - 1).clamp(min=0) // 2), _at(ordered, (count // 2).clamp(max=raw.shape[1] - 1))
    middle = torch.where(count > 0, 0.5 * (torch.where(count > 0, low, 1.0) + torch.where(count > 0, high, 1.0)), 1.0)
    return centred / middle[..., None]


def _at(rows: Tensor, place: Tensor) -> Tensor:
    """Return one number (n, 1) of each row (n, C): what `torch.gather` does, which cannot be stacked."""
    here = torch.arange(rows.shape[1]) == place
    return torch.where(here, rows, 0.0).sum(1, keepdim=True)


class SideBySide(nn.Module):
    """Networks of one form on stacked weights; the same as calling each of them."""

    def __init__(self, ones: Sequence[One]) -> None:
        super().__init__()
        parameters, buffers = stack_module_state(list(ones))
        # Hidden from torch: only its form is used, with the stacked state in place of its own.
        object.__setattr__(self, "form", copy.deepcopy(ones[0]).to("meta"))
        self.count = len(ones)
        self.names = [*parameters, *buffers]
        for i, value in enumerate([*parameters.values(), *buffers.values()]):
            self.register_buffer(self._place(i), value.detach())

    def _place(self, i: int) -> str:
        return f"stacked_{i}_{self.names[i].replace('.', '_')}"

    def forward(self, given: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return estimates (M, n, T) and logits (M, n, T, O)."""
        state = {name: getattr(self, self._place(i)) for i, name in enumerate(self.names)}
        form: One = self.__dict__["form"]

        def answer(own: dict[str, Tensor], seen: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            told: tuple[Tensor, Tensor] = functional_call(form, own, (seen,))
            return told

        # Inputs are spread out too: some rules fail where one of two operands is not stacked.
        spread = {name: x.expand(self.count, *x.shape) for name, x in given.items()}
        with InOtherWords():
            made: tuple[Tensor, Tensor] = torch.vmap(answer)(state, spread)
        return made


class InTurn(nn.Module):
    """Networks one after the other: what is left where they cannot run side by side."""

    def __init__(self, ones: Sequence[One]) -> None:
        super().__init__()
        self.ones = nn.ModuleList(ones)

    def forward(self, given: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return estimates (M, n, T) and logits (M, n, T, O)."""
        with InOtherWords():
            made = [one(given) for one in self.ones]
        return torch.stack([part for part, _ in made]), torch.stack([logits for _, logits in made])


class Whole(nn.Module):
    """The graph: raw inputs in the order of ``names``, outputs in the order of `outputs`.

    ``half_width`` (T,) is half the width of the interval of each target, NaN where there is none (classes).
    """

    def __init__(self, members: Sequence[Member], spec: InputSpec, half_width: F64, *, stacked: bool = True) -> None:
        super().__init__()
        self.spec, self.names = spec, tuple(inputs_of(members, spec))
        tracks = [name.removeprefix(TRACK) for name in self.names if name.startswith(TRACK)]
        ordered = _by_form(members)
        kind = SideBySide if stacked else InTurn
        self.groups = nn.ModuleList(kind([One(member, tracks).eval() for member in group]) for group in ordered)
        self.order = tuple(member.name for group in ordered for member in group)
        self.bounds = _scale_ends(spec)
        self.register_buffer("half_width", torch.from_numpy(np.asarray(half_width, np.float64)))
        self.register_buffer("low", torch.from_numpy(self.bounds[0]))
        self.register_buffer("high", torch.from_numpy(self.bounds[1]))

    @property
    def cut(self) -> bool:
        """Whether a target is a scale to which estimates are cut."""
        return bool(np.isfinite(self.bounds).any())

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what comes out, in order."""
        shares = [f"{SHARES}{name}" for name, head in zip(self.spec.targets, self.spec.head, strict=True) if head.classes]
        return (ESTIMATES, LOWER, UPPER, EACH, *([UNCUT] if self.cut else []), *shares)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Answer windows: estimates, lower, upper (n, T), each network's estimates (M, n, T), shares (n, classes) a target."""
        given = dict(zip(self.names, inputs, strict=True))
        parts = [group(given) for group in self.groups]
        each = torch.cat([part for part, _ in parts]) if len(parts) > 1 else parts[0][0]
        mean = each.mean(0)
        low, high, half = (cast("Tensor", getattr(self, word)) for word in ("low", "high", "half_width"))
        ends = [mean, mean - half, mean + half]
        cut = [torch.minimum(torch.maximum(x, low), high) for x in ends] if self.cut else ends
        told = [x.float() for x in (*cut, each, *([mean] if self.cut else []))]
        return (*told, *(self._shares(parts, t, head) for t, head in enumerate(self.spec.head) if head.classes))

    def _shares(self, parts: Sequence[tuple[Tensor, Tensor]], t: int, head: Head) -> Tensor:
        said = [torch.softmax(logits[:, :, t, : head.classes], dim=-1) for _, logits in parts]
        return (torch.cat(said) if len(said) > 1 else said[0]).mean(0).float()


def _scale_ends(spec: InputSpec) -> F64:
    """Return the ends (2, T) of the scales of bounded targets, infinite of all others; classes are numbers, and not cut."""
    known = {target.name: target for task in TASKS.values() for target in task.targets if target.bounded}
    ends = np.full((2, len(spec.targets)), [[-np.inf], [np.inf]])
    for j, (name, head) in enumerate(zip(spec.targets, spec.head, strict=True)):
        if name in known and not head.classes:
            ends[:, j] = known[name].low, known[name].high
    return ends


def _by_form(members: Sequence[Member]) -> list[list[Member]]:
    """Gather networks that differ in nothing but their numbers."""
    groups: dict[str, list[Member]] = {}
    for member in members:
        net: Any = member.model
        shapes = {name: list(value.shape) for name, value in net.state_dict().items()}
        form = json.dumps([type(net).__name__, asdict(net.settings), shapes], sort_keys=True, default=str)
        groups.setdefault(form, []).append(member)
    return list(groups.values())
