"""A reconstruction of Split 'n' Merge Net from its abstract (Fernando et al., Pattern Recognition 126, 2022, 108551).

The full text, its code and its numbers were not available to us. What the abstract and highlights say: multi-task learning is
recast as feature separation; a splitting network with multi-head attention makes dynamic masks that select task-specific and
task-agnostic (shared) features from an embedding; a mutual-information loss keeps the split embeddings distinct; a merging
network fuses task-specific and shared features into one augmented embedding per task.

Everything else is our choice:

- the encoder (two strided convolutions, two residual blocks), its width, and the number of heads;
- feature tokens: one token per family of hand-made features and demographics beside the encoded time steps;
- T + 1 splits, one attention block each; masks over tokens × features; sigmoid with temperature τ as normaliser
  (softmax over splits, hard sigmoid and noise filling are options);
- one matrix in place of the attention's output projection followed by the mask projection;
- the mutual-information term: unbiased HSIC of pooled, projected, standardised splits (`biosig_mtl.training.independence`),
  all pairs, weight 0.1 with a linear ramp;
- the merge: cross-attention (query = task split, key and value = shared split) with a feed-forward part; gate, concatenation
  and none are options;
- pooling: the mean over tokens, in which time steps and feature tokens, or else modalities, have equal say (``pool: mean`` is
  the plain mean);
- inputs of several modalities: each has an encoder of its own, and their tokens are put in one row before the split.

Extensions of ours, all off with ``paper_mode``: the linear skip from features to predictions, the private head (each
task-specific split answers its task alone), the mask-coverage penalty of the trainer, the kernel ridge beside the network
(`biosig_mtl.models.kernel`, ``kernel_landmarks``), the waveform head (`biosig_mtl.models.waveform_head`). ``ordered`` (DBP <
SBP by construction) is ours too and off unless asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from biosig_mtl.models.answers import Answers, Heads
from biosig_mtl.models.classes import outputs_of
from biosig_mtl.models.merging import Merge, MergeForm, make_merge, merged_width
from biosig_mtl.models.network import NetworkSettings, kernel_beside, tokens_of
from biosig_mtl.models.splitting import Attention, Masks, MasksAct, Normaliser, SplitChoice, SplitHeads, make_splitter
from biosig_mtl.models.tokens import Tokens
from biosig_mtl.models.waveform_head import Steps, WaveformHead, times
from biosig_mtl.types import Batch, InputSpec, Output, RecipeError


@dataclass(frozen=True)
class SplitMergeSettings(NetworkSettings):
    """Settings of Split 'n' Merge.

    ``heads`` belong to every attention block (heads of 16 features are much faster on CPU than smaller ones);
    ``temperature`` is τ of the masks. ``masks`` other than ``dynamic``, ``shared_split: false`` and ``merge: none`` are
    ablations, see `biosig_mtl.models.splitting` and `biosig_mtl.models.merging`. ``attention: low_rank`` costs N instead of N²
    in splitter and cross-attention; ``attention_rank`` is its r, for each head. ``waveform_head`` tells the waveform of the
    reference from the shared split (`biosig_mtl.models.waveform_head`), in training at ``waveform_points`` points.
    """

    heads: int = 2
    split_heads: SplitHeads = "per_split"
    mask_normaliser: Normaliser = "sigmoid"
    masks_act: MasksAct = "tokens_features"
    temperature: float = 1.0
    merge: Merge = "cross_attention"
    private_head: bool = True
    paper_mode: bool = False
    masks: Masks = "dynamic"
    shared_split: bool = True
    attention: Attention = "full"
    attention_rank: int = 8
    waveform_head: bool = False
    waveform_points: int = 200

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        super().__post_init__()
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f"need heads >= 1 that divide width, got {self.heads}, {self.width}")
        if self.temperature <= 0.0:
            raise ValueError(f"need temperature > 0, got {self.temperature}")
        if self.attention_rank < 1:
            raise ValueError(f"need attention_rank >= 1, got {self.attention_rank}")
        if self.waveform_points < 1:
            raise ValueError(f"need waveform_points >= 1, got {self.waveform_points}")

    def split_choice(self) -> SplitChoice:
        """Return the part of the settings that makes masks."""
        return SplitChoice(
            self.heads, self.split_heads, self.mask_normaliser, self.masks_act, self.temperature,
            self.masks, self.attention, self.attention_rank,
        )  # fmt: skip

    def merge_form(self) -> MergeForm:
        """Return what is not the plain form of the merge."""
        return MergeForm(self.attention, self.attention_rank, self.shared_split)


class SplitMerge(nn.Module):
    """Embed → split → merge → answer.

    `embed`, `split` and `answer` are public because the split report removes single splits between them.
    """

    def __init__(self, settings: SplitMergeSettings, spec: InputSpec) -> None:
        super().__init__()
        s, tasks = settings, len(spec.targets)
        self.settings, self.spec = s, spec
        self.paper_mode = s.paper_mode
        self.tokens = tokens_of(s, spec)
        length = tokens_in_a_window(self.tokens, spec) if s.masks in ("static", "random") else 0
        self.splitter = make_splitter(tasks + int(s.shared_split), length, s.width, s.split_choice())
        form = s.merge_form()
        self.merger = make_merge(s.merge, tasks, s.width, s.heads, s.dropout, form)
        outputs = outputs_of(spec.head)
        self.heads = Heads(tasks, merged_width(s.merge, s.width, form), s.width, s.dropout, outputs)
        alone = s.private_head and not s.paper_mode
        self.private = Heads(tasks, s.width, s.width, s.dropout, outputs) if alone else None
        self.answers = Answers(
            spec,
            linear_skip=s.linear_skip and not s.paper_mode,
            min_pulse_pressure=s.min_pulse_pressure_mmhg if s.ordered else None,
            unseen=self.tokens.by_electrode,
        )
        self.beside = None if s.paper_mode else kernel_beside(s.kernel_landmarks, spec)
        # Last, so that all else starts as it would without.
        self.waveform_head = self._waveform_head() if s.waveform_head and not s.paper_mode else None

    @property
    def uses_waveform(self) -> bool:
        """Whether batches need their waveform."""
        return self.tokens.uses_waveform

    @property
    def uses_tracks(self) -> tuple[str, ...]:
        """Tracks that batches need."""
        return self.tokens.uses_tracks

    @property
    def shown(self) -> dict[str, tuple[str, ...]]:
        """What the columns of the weights in an `Output` belong to, by name."""
        return self.tokens.shown

    def _waveform_head(self) -> WaveformHead:
        s = self.settings
        if not self.uses_waveform:
            raise ValueError("need use_waveform and windows with a waveform for a waveform_head: it tells time from time steps")
        return WaveformHead(s.width, Steps.of(s.encoder, s.stride, self.spec.samples))

    def embed(self, batch: Batch) -> Tensor:
        """Return the embedding H (B, N, D)."""
        tokens: Tensor = self.tokens(batch)
        return tokens

    def split(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Return masks and splits, both (B, K, N, D)."""
        masks, splits = self.splitter(embedding)
        return masks, splits

    def answer(self, masks: Tensor, splits: Tensor, batch: Batch) -> Output:
        """Merge the splits and answer every task."""

        def pool(x: Tensor, axis: int) -> Tensor:
            return self.tokens.pool(x, self.settings.pool, batch, axis)

        augmented, gates = self.merger(splits, pool)
        predictions, logits = self.answers(self.heads(augmented), batch)
        if self.beside is not None and not self.training:
            predictions = self.beside.blend(predictions, batch)
        made = Output(predictions, masks=masks, splits=splits, gates=gates, logits=logits)
        if self.private is None:
            return made
        # All splits are pooled and the tasks' own taken then: a slice of the splits would cost a full pass backwards.
        own = pool(splits, 0)[:, -len(self.spec.targets) :]
        alone = self.answers.plain(self.private(own), batch)
        return replace(made, private=alone.predictions, private_logits=alone.logits)

    def forward(self, batch: Batch) -> Output:
        """Return predictions (B, T) in scaled units with masks, splits, private predictions, gates and what was listened to."""
        embedded = self.tokens.look(batch)
        masks, splits = self.split(embedded.tokens)
        made = replace(self.answer(masks, splits, batch), weights=embedded.weights)
        if self.waveform_head is None:
            return made
        shared = splits[:, 0] if self.settings.shared_split else embedded.tokens
        return replace(made, reference=self._told(shared, batch, self.settings.waveform_points))

    def waveform(self, batch: Batch, points: int) -> Tensor:
        """Return the waveform of the reference (B, S), scaled, at so many points a window, as many as wanted.

        Read from the shared split, or from the embedding where nothing is shared. A network without the head raises
        `RecipeError`.
        """
        embedding = self.embed(batch)
        shared = self.split(embedding)[1][:, 0] if self.settings.shared_split else embedding
        return self._told(shared, batch, points)

    def _told(self, shared: Tensor, batch: Batch, points: int) -> Tensor:
        if self.waveform_head is None:
            raise RecipeError("the network has no waveform head: set model.waveform_head and train it again")
        # Time steps of the waveform come first in the row of tokens, and are the only ones of no fixed number.
        steps = shared.shape[1] - sum(group.tokens for group in self.tokens.groups)
        pooled = self.tokens.pool(shared, self.settings.pool, batch)
        told: Tensor = self.waveform_head(shared[:, :steps], pooled, times(points).to(shared.device))
        return told


def tokens_in_a_window(tokens: Tokens, spec: InputSpec) -> int:
    """Return N of the windows that a network is made for; draws nothing from chance."""
    known = sum(group.tokens for group in tokens.groups)
    if tokens.waveform is None:
        return known
    tokens.waveform.eval()
    with torch.no_grad():
        steps = tokens.waveform(torch.zeros(1, len(spec.waveform_channels), spec.samples))
    tokens.waveform.train()
    return known + int(steps.shape[1])
