"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from biosig_mtl.training.augmentation import Augmentation
from biosig_mtl.training.independence import Independence, Pairs
from biosig_mtl.training.losses import Loss
from biosig_mtl.training.masking import MaskingSettings
from biosig_mtl.training.person import PerSubject
from biosig_mtl.training.weighting import Weighting


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained.

    Attributes
    ----------
    epochs, batch_size, lr, weight_decay, warmup, grad_clip
        AdamW; the rate rises linearly over the share ``warmup`` of all steps and falls to zero along a cosine; gradients are
        clipped to norm ``grad_clip``.
    patience
        Epochs without a better validation score after which training stops; 0 = never stop early.
    loss
        Of scaled targets: ``huber`` (δ = 1 standard deviation), ``mae`` or ``mse``; heads of classes have their own.
    weighting, fixed_weights
        How the losses of the targets become one, see `LossWeights`, or which rule weighs their gradients, see
        `biosig_mtl.training.aggregation`; rules need the extra ``grad``.
    flat_radius
        ρ of steps that look for flat minima, see `biosig_mtl.training.flatness`; 0 = off. Each target costs one pass more.
    mi, mi_weight, mi_ramp_epochs, mi_pairs
        The term that keeps splits distinct, its weight λ, the epochs over which λ rises, and the pairs that it sees.
        λ = 0 is the same as ``mi: none``.
    private_head_weight
        Weight of the loss that makes each task-specific split answer its task alone, for networks that have such heads.
    early_weight
        Weight of the loss of each early answer, for networks with deep supervision.
    waveform_weight
        Weight of the loss of the waveform of the reference, for networks with a ``waveform_head``; 0 = off.
    mask_coverage_weight
        Weight of the penalty on masks that together let less than everything through; not used in ``paper_mode``.
    balance_subjects
        α of the window weights n_windows(subject)^−α.
    skip_start, skip_rate
        The linear skip starts as a ``ridge`` on the training rows, or as ``zero``; its learning rate is ``skip_rate`` · lr.
    average
        Decay of a running average of the weights, which is then what is validated and kept; 0 = off.
    ensemble
        Number of networks, each with its own start and order, whose predictions are averaged.
    severity_ridge
        Weight of the mean squared severity of training raters, for heads of kind ``rasch``.
    shuffle, block_windows, buffer_blocks
        Order of an epoch: all ``windows`` at random, or ``blocks`` of ``block_windows`` windows that lie side by side in the
        store, mixed with ``buffer_blocks`` at a time: for stores that are larger than memory, see
        `biosig_mtl.training.loading_order`.
    prefetch
        Whether a thread makes the next batches while the network works; ``auto`` = on a GPU. The batches are the same.
    device
        ``cpu``, ``cuda``, or ``auto``: a GPU where there is one. Only ``cpu`` gives the same bits every time: a GPU adds in an
        order that nobody fixes, so that scores differ in their last digits, and a run that changes its device with them.
    compile
        Whether `torch.compile` makes the forward pass; ``auto`` after a short timing trial. Weights and states are the same.
    parallel, chance
        With several training processes (``torchrun``): all work on each ``batch``, or each on its own ``networks``; ``auto``
        takes networks where each process has four or more. ``chance`` says who draws dropout and augmentation when a batch is
        shared: for the ``whole`` batch as one process would, or each ``rank`` for its own windows.
    amp
        ``bf16`` mixed precision, ``auto`` after a short timing trial (then two machines may differ in the last digits).
    per_subject
        Show each feature a second time beside what is usual for the person: in the ``past`` of the window, or over the person's
        ``whole`` recording, of which the later part is the future (see `biosig_mtl.training.person`).
    pretrain
        Masked pre-training of the network's tokens on the training windows of its fold, see
        `biosig_mtl.training.masking`; ``epochs: 0`` = none.
    """

    epochs: int = 30
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    grad_clip: float = 1.0
    patience: int = 10
    loss: Loss = "huber"
    weighting: Weighting = "sum"
    fixed_weights: tuple[float, ...] = ()
    flat_radius: float = 0.0
    mi: Independence = "uhsic"
    mi_weight: float = 0.1
    mi_ramp_epochs: int = 10
    mi_pairs: Pairs = "all"
    private_head_weight: float = 0.3
    early_weight: float = 0.3
    waveform_weight: float = 0.0
    mask_coverage_weight: float = 0.0
    balance_subjects: float = 1.0
    skip_start: Literal["ridge", "zero"] = "ridge"
    skip_rate: float = 0.1
    average: float = 0.95
    ensemble: int = 1
    severity_ridge: float = 0.05
    shuffle: Literal["windows", "blocks"] = "windows"
    block_windows: int = 256
    buffer_blocks: int = 32
    prefetch: Literal["auto", "off", "on"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    compile: Literal["off", "auto", "on"] = "off"
    parallel: Literal["auto", "batch", "networks"] = "auto"
    chance: Literal["whole", "rank"] = "whole"
    amp: Literal["off", "auto", "bf16"] = "off"
    per_subject: PerSubject = "none"
    augmentation: Augmentation = field(default_factory=Augmentation)
    pretrain: MaskingSettings = field(default_factory=lambda: MaskingSettings(epochs=0))

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        for name in ("epochs", "batch_size", "ensemble", "block_windows", "buffer_blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"need {name} >= 1, got {getattr(self, name)}")
        for name in (
            "weight_decay",
            "patience",
            "mi_weight",
            "mi_ramp_epochs",
            "private_head_weight",
            "early_weight",
            "waveform_weight",
            "mask_coverage_weight",
            "skip_rate",
            "severity_ridge",
            "flat_radius",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"need {name} >= 0, got {getattr(self, name)}")
        if self.lr <= 0 or self.grad_clip <= 0:
            raise ValueError(f"need lr and grad_clip > 0, got {self.lr}, {self.grad_clip}")
        if not (0.0 <= self.warmup < 1.0 and 0.0 <= self.average < 1.0):
            raise ValueError(f"need 0 <= warmup < 1 and 0 <= average < 1, got {self.warmup}, {self.average}")
        if self.weighting == "fixed" and not self.fixed_weights:
            raise ValueError("need fixed_weights, one per target, with weighting: fixed")

    @property
    def penalises_dependence(self) -> bool:
        """Whether there is a mutual-information term at all."""
        return self.mi != "none" and self.mi_weight > 0
