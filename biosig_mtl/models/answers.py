"""The end of every network: heads, the linear skip beside them, and what becomes of what they say."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.blocks import StackedLinear
from biosig_mtl.models.classes import Answer, Classes, outputs_of
from biosig_mtl.types import Batch, InputSpec


class Heads(nn.Module):
    """One two-layer head per task; (B, T, in) → (B, T), or (B, T, O) where a task says several numbers."""

    def __init__(self, tasks: int, d_in: int, hidden: int, dropout: float, outputs: int = 1) -> None:
        super().__init__()
        self.hidden = StackedLinear(tasks, d_in, hidden)
        self.drop = nn.Dropout(dropout)
        self.last = StackedLinear(tasks, hidden, outputs)

    def forward(self, embedding: Tensor) -> Tensor:
        """Answer every task from its own embedding."""
        stacked = embedding.transpose(0, 1).unsqueeze(2)
        out: Tensor = self.last(self.drop(functional.gelu(self.hidden(stacked))))
        said = out[:, :, 0].transpose(0, 1)
        return said[..., 0] if out.shape[-1] == 1 else said


class Answers(nn.Module):
    """From what the heads say to an `Answer`: linear skip, then classes, or the order of the two pressures.

    ``linear_skip`` adds a linear path from values and missing flags to every task ("wide & deep", Cheng et al. 2016; our
    extension), born as zero; it does not see the features in ``unseen``. ``min_pulse_pressure`` (mmHg, None = off) makes DBP <
    SBP by construction: the SBP head then answers softplus of the pulse pressure above that margin, so the SBP loss also
    reaches the DBP head. ``target_mean`` and ``target_scale`` are set by the trainer and travel with the weights.
    """

    target_mean: Tensor
    target_scale: Tensor

    def __init__(
        self, spec: InputSpec, *, linear_skip: bool, min_pulse_pressure: float | None, unseen: frozenset[int] = frozenset()
    ) -> None:
        super().__init__()
        if min_pulse_pressure is not None and not {"sbp", "dbp"} <= set(spec.targets):
            raise ValueError(f"need targets sbp and dbp for ordered pressures, got {', '.join(spec.targets)}")
        self.outputs = outputs_of(spec.head)
        if min_pulse_pressure is not None and self.outputs > 1:
            raise ValueError("need regression of all targets for ordered pressures, got heads with classes")
        n = len(spec.targets)
        self.targets = spec.targets
        self.margin = min_pulse_pressure
        self.seen = [column for column in range(len(spec.features)) if column not in unseen]
        self.whole = not unseen
        self.skip = nn.Linear(2 * len(self.seen), n * self.outputs) if linear_skip and self.seen else None
        if self.skip is not None:
            nn.init.zeros_(self.skip.weight)
            nn.init.zeros_(self.skip.bias)
        self.classes = Classes(spec.head) if self.outputs > 1 else None
        self.register_buffer("target_mean", torch.zeros(n))
        self.register_buffer("target_scale", torch.ones(n))

    def set_target_scale(self, mean: Tensor, scale: Tensor) -> None:
        """Tell how scaled units relate to the unit of the target: value = mean + scale · scaled; both (T,)."""
        self.target_mean.copy_(mean)
        self.target_scale.copy_(scale)

    def set_linear_skip(self, slopes: Tensor, offsets: Tensor) -> None:
        """Give the linear skip, where there is one, its start: (T · O, 2F) for values then missing flags, and (T · O,)."""
        if self.skip is not None:
            with torch.no_grad():
                self.skip.weight.copy_(slopes)
                self.skip.bias.copy_(offsets)

    def said_for(self, targets: Tensor) -> Tensor:
        """Return what heads and skip together would have to say for scaled targets (B, T) of regressions."""
        if self.margin is None:
            return targets
        s, d, offset = self._pressures(self.margin)
        value = self.target_mean + self.target_scale * targets
        above = ((value[:, s] - value[:, d] - self.margin) / self.target_scale[s]).clamp(min=1e-2)
        columns = list(targets.unbind(1))
        columns[s] = torch.log(torch.expm1(above)) - offset
        return torch.stack(columns, dim=1)

    def forward(self, said: Tensor, batch: Batch) -> Answer:
        """Turn what the heads say, (B, T) or (B, T, O), into an answer."""
        if self.skip is not None:
            shown, flags = batch.values.masked_fill(batch.missing, 0.0), batch.missing.to(batch.values.dtype)
            if not self.whole:
                shown, flags = shown[:, self.seen], flags[:, self.seen]
            said = said + self.skip(torch.cat([shown, flags], dim=1)).view(said.shape)
        if self.margin is not None:
            return Answer(self._ordered(said, self.margin), None)
        return self.plain(said, batch)

    def plain(self, said: Tensor, batch: Batch) -> Answer:
        """Return the answer without skip and order: what a head says for itself."""
        if self.classes is None:
            return Answer(said, None)
        made: Answer = self.classes(said, batch.offset)
        return made

    def _pressures(self, margin: float) -> tuple[int, int, Tensor]:
        """Return the columns of SBP and DBP, and the offset that makes zero mean the average pulse pressure."""
        s, d = self.targets.index("sbp"), self.targets.index("dbp")
        usual = ((self.target_mean[s] - self.target_mean[d] - margin) / self.target_scale[s]).clamp(min=1e-2)
        return s, d, torch.log(torch.expm1(usual))

    def _ordered(self, said: Tensor, margin: float) -> Tensor:
        s, d, offset = self._pressures(margin)
        mean, scale = self.target_mean, self.target_scale
        dbp = mean[d] + scale[d] * said[:, d]
        sbp = dbp + margin + scale[s] * functional.softplus(said[:, s] + offset)
        columns = list(said.unbind(1))
        columns[s] = (sbp - mean[s]) / scale[s]
        return torch.stack(columns, dim=1)
