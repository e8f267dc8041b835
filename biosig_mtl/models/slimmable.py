"""One network at several widths: narrow ones use the leading part of every weight of the widest.

Source: slimmable networks (Yu et al., ICLR 2019, §3: shared leading weights, norms of their own for every width), as "Efficient
Controllable Multi-Task Architectures" uses them for several tasks, with its configuration-invariant distillation

    L_CI = ‖h_w − sg(h_1)‖²

which keeps what heads see the same at every width. Ours: h_1 is cut to its leading features, since h_w has fewer; the mean of
the squares in place of their sum; group and layer norms in place of batch norms, which need own gains but no own statistics;
encoder and decoders have one common width.

A narrow network is an ordinary one of that width (`at_width`): nothing of this module is needed to use it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from biosig_mtl.models.answers import Answers
from biosig_mtl.models.blocks import StackedNorm
from biosig_mtl.models.hard_sharing import HardSharingSettings, hard_sharing
from biosig_mtl.models.network import NetworkSettings
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings
from biosig_mtl.types import EMPTY, Batch, InputSpec, Output

SHARES = (0.25, 0.5, 0.75, 1.0)
PASSES = 30  # over which the latency of one window is a median
NORMS = (nn.LayerNorm, nn.GroupNorm, StackedNorm)


@dataclass(frozen=True)
class Form:
    """A network that can be slimmed: its settings and how it is made."""

    settings: type[NetworkSettings]
    make: Callable[[Any, InputSpec], nn.Module]

    def words(self) -> tuple[str, ...]:
        """Return the names of the settings."""
        return tuple(f.name for f in fields(self.settings))


FORMS: dict[str, Form] = {
    "hard_sharing": Form(HardSharingSettings, hard_sharing),
    "split_merge": Form(SplitMergeSettings, SplitMerge),
}


@dataclass(frozen=True)
class SlimmableSettings:
    """Which network, ``of`` `FORMS` with the ``words`` of its settings, at which ``shares`` of its width, rising to 1.

    There is no kernel beside it, whose share would have to be chosen at each width. Widths are rounded down.
    """

    of: str = "split_merge"
    words: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    shares: tuple[float, ...] = SHARES

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.of not in FORMS:
            raise ValueError(f"need of in {', '.join(FORMS)}, got {self.of}")
        given = tuple(self.shares)
        if not given or list(given) != sorted(set(given)) or given[0] <= 0.0 or given[-1] != 1.0:
            raise ValueError(f"need shares that rise from above 0 to 1, got {given}")
        # Words and shares that were read from a file are lists and may be incomplete.
        object.__setattr__(self, "shares", given)
        object.__setattr__(self, "words", {**self.words, "kernel_landmarks": 0})
        for share in given:
            self.at(share)

    def at(self, share: float) -> NetworkSettings:
        """Return the settings of the ordinary network at a share of the width."""
        odd = sorted(set(self.words) - set(FORMS[self.of].words()))
        if odd:
            raise ValueError(f"need words that {self.of} has, got {', '.join(odd)}")
        made = FORMS[self.of].settings(**self.words)
        return replace(made, width=int(made.width * share))


class Slimmable(nn.Module):
    """A network that answers at all of its widths while it is trained, and at the full one afterwards.

    In training the answers of the narrower widths are the ``early`` ones of the output, so that ``training.early_weight``
    weighs their losses, and `invariance` is the mean over narrower widths of L_CI of the batch just seen.
    """

    def __init__(self, settings: SlimmableSettings, spec: InputSpec) -> None:
        super().__init__()
        self.settings, self.spec = settings, spec
        make = FORMS[settings.of].make
        self.widest = make(settings.at(1.0), spec)
        # Only their shapes and their way of computing are used; all numbers are given to them.
        self._narrow = {str(share): make(settings.at(share), spec) for share in settings.shares[:-1]}
        self.norms = nn.ModuleDict({_word(key): _own_norms(net) for key, net in self._narrow.items()})
        self.invariance: Tensor = torch.zeros(())

    @property
    def uses_waveform(self) -> bool:
        """Whether batches need their waveform."""
        used: Any = self.widest
        return bool(used.uses_waveform)

    @property
    def uses_tracks(self) -> tuple[str, ...]:
        """Tracks that batches need."""
        used: Any = self.widest
        return tuple(used.uses_tracks)

    @property
    def shown(self) -> dict[str, tuple[str, ...]]:
        """What the columns of the weights in an `Output` belong to, by name."""
        used: Any = self.widest
        return dict(used.shown)

    @property
    def answers(self) -> Answers:
        """What turns the heads' answers into predictions; common to all widths."""
        used: Any = self.widest
        found: Answers = used.answers
        return found

    @property
    def paper_mode(self) -> bool:
        """Whether the network has none of our extensions."""
        return bool(getattr(self.widest, "paper_mode", False))

    def forward(self, batch: Batch) -> Output:
        """Return what the widest network says; in training with what the others say as ``early``."""
        if not self.training:
            out: Output = self.widest(batch)
            return out
        out, full = _with_embedding(self.widest, partial(self.widest, batch))
        said, apart = [], []
        for share in self.settings.shares[:-1]:
            net = self._narrow[str(share)].train()
            narrow, seen = _with_embedding(net, partial(self.at, share, batch))
            said.append(narrow)
            apart.append((seen - full[..., : seen.shape[-1]].detach()).square().mean())
        if apart:
            self.invariance = torch.stack(apart).mean()
        logits = tuple(one.logits for one in said if one.logits is not None)
        return replace(out, early=tuple(one.predictions for one in said), early_logits=logits)

    def at(self, share: float, batch: Batch) -> Output:
        """Return what the network says at a narrower share of its width, in the mode that it is in."""
        net = self._narrow[str(share)].train(self.training)
        out: Output = functional_call(net, self.numbers(share), (batch,))
        return out

    def numbers(self, share: float) -> dict[str, Tensor]:
        """Return the weights and buffers of the ordinary network at a narrower share of the width; gradients flow through."""
        net = self._narrow[str(share)]
        own = dict(self.norms[_word(str(share))].named_parameters())
        given = {**dict(self.widest.named_parameters()), **dict(self.widest.named_buffers())}
        shapes = {**dict(net.named_parameters()), **dict(net.named_buffers())}
        return {name: own[_word(name)] if _word(name) in own else _leading(given[name], like) for name, like in shapes.items()}


def _word(name: str) -> str:
    return name.replace(".", "__")


def _own_norms(net: nn.Module) -> nn.ParameterDict:
    """Return gains and offsets of all norms, under names that a module can have."""
    found: dict[str, Tensor] = {}
    for name, part in net.named_modules():
        if isinstance(part, NORMS):
            found |= {_word(f"{name}.{own}"): p for own, p in part.named_parameters(recurse=False)}
    return nn.ParameterDict(found)


def _leading(whole: Tensor, like: Tensor) -> Tensor:
    """Return the leading part of the shape of another; in one piece, or sums would be made in another order."""
    return whole[tuple(slice(0, n) for n in like.shape)].contiguous()


def _with_embedding(net: nn.Module, call: Callable[[], Output]) -> tuple[Output, Tensor]:
    """Return what a network says, and the embedding (B, T, E) that its heads saw."""
    seen: list[Tensor] = []
    heads: Any = net
    handle = heads.heads.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        out = call()
    finally:
        handle.remove()
    return out, seen[0]


def at_width(model: Slimmable, share: float) -> nn.Module:
    """Return the ordinary network at a share of the width, with weights of its own; it says the very same.

    Raises
    ------
    ValueError
        The network was not trained at that share.
    """
    if share not in model.settings.shares:
        raise ValueError(f"need a share in {', '.join(f'{s:g}' for s in model.settings.shares)}, got {share:g}")
    with torch.random.fork_rng(devices=[]):
        plain = FORMS[model.settings.of].make(model.settings.at(share), model.spec)
    numbers = model.widest.state_dict() if share == 1.0 else model.numbers(share)
    kept = plain.state_dict()
    plain.load_state_dict({name: numbers[name].detach().clone() for name in kept})
    return plain.eval()


def remake(name: str, settings: Mapping[str, Any], spec: InputSpec) -> nn.Module:
    """Make the untrained network of a model folder that holds slimmable ones; raise ValueError where it holds others."""
    if name != "slimmable":
        raise ValueError(f"need a slimmable network, got {name}")
    return Slimmable(SlimmableSettings(**settings), spec)


@dataclass(frozen=True)
class Price:
    """What a network costs: ``parameters``, ``flops`` of one window (products and convolutions, as torch counts them), and
    ``latency_ms`` of one window, in milliseconds of the processor, the median of some passes. It differs between machines.
    """

    parameters: int
    flops: float
    latency_ms: float


def price(model: nn.Module, one: Batch) -> Price:
    """Return what a network costs on a batch of one window."""
    from torch.utils.flop_counter import FlopCounterMode

    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(one)
    each = []
    with torch.inference_mode():
        for _ in range(PASSES):
            began = time.process_time()
            model(one)
            each.append(1000 * (time.process_time() - began))
    return Price(sum(p.numel() for p in model.parameters()), float(counter.get_total_flops()), float(np.median(each)))
