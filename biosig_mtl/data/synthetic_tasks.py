"""SIMULATED tasks whose kinship is known: learning them together should help exactly where it can, and harm nowhere.

After MultiTab-Bench (Sinodinos, Wei & Armanfard 2025, arXiv 2511.09970), in which the correlation of the tasks, their degree
and their noise are set, and after the weight vectors of Ma et al. 2018 (MMoE, KDD, §3.2): w_1 = u_1,
w_2 = p u_1 + √(1 − p²) u_2. What these windows score says nothing about people. `synthetic_tasks` has the equations, and
tells what is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from biosig_mtl.types import F32, F64, I64, WindowTable

LATENTS = 12  # q: what a window is made of
FEATURES = 24
FAMILIES = ("a", "b", "c", "d")
CHANNELS = ("one", "two")
FS, SAMPLES = 32.0, 128
BETWEEN = 0.3  # share of the variance of what is latent, and of the noise, that lies between subjects
OFFSET_SD = 0.2  # of a feature, between subjects: skin, sensor, and what else a person brings along
INPUT_NOISE_SD = 0.1


@dataclass(frozen=True)
class SyntheticTasks:
    """What is asked for, see `synthetic_tasks`; refuses what cannot be."""

    correlation: float
    degree: int
    noise: float
    n_subjects: int
    windows_per_subject: int
    targets: int = 2
    conflict: bool = False

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not 2 <= self.targets <= LATENTS:
            raise ValueError(f"need 2 <= targets <= {LATENTS}, got {self.targets}")
        lowest = -1.0 / (self.targets - 1)
        if not lowest <= self.correlation <= 1.0:
            raise ValueError(f"need {lowest:g} <= correlation <= 1 for {self.targets} targets, got {self.correlation}")
        if self.degree < 1 or not 0.0 <= self.noise < math.inf:
            raise ValueError(f"need degree >= 1 and noise >= 0, got {self.degree}, {self.noise}")
        if min(self.n_subjects, self.windows_per_subject) < 1:
            raise ValueError(f"need at least one subject and window, got {self.n_subjects}, {self.windows_per_subject}")


def synthetic_tasks(  # noqa: PLR0913 (what a task is like, and how many there are of each, is one line where it is asked for)
    correlation: float,
    degree: int,
    noise: float,
    *,
    n_subjects: int,
    windows_per_subject: int,
    targets: int = 2,
    conflict: bool = False,
    seed: int,
) -> WindowTable:
    """Return windows whose targets are polynomials of what is latent in them.

    Parameters
    ----------
    correlation
        ρ of every pair of the tasks' weight vectors, exactly; from −1/(T − 1) to 1.
    degree
        Of the polynomials; 1 is linear in what is latent (never in what is shown).
    noise
        Standard deviation of the noise on every target, where the truth has 1.
    n_subjects, windows_per_subject
        How many.
    targets
        T, the number of tasks.
    conflict
        Every feature then mixes the tasks' own factors with signs: what one task has to add, another has to subtract.
    seed
        Of all chance: tasks, people and windows.

    Returns
    -------
    WindowTable
        24 features in four families, values (n, 24); two waveforms (n, 2, 128) at 32 Hz; targets ``task1`` … (n, T), float32.

    Raises
    ------
    ValueError
        Sizes, degree, noise or a correlation that cannot be.

    Notes
    -----
    With people i, windows j and standard normal η, ζ, ε (η one a person):

    - latent: z_ij = √0.3 η_i + √0.7 ζ_ij, of q = 12 numbers, so z is standard normal over windows;
    - weights: W = R^½ U, where U (T, q) has orthonormal rows drawn at random and R = (1 − ρ) I + ρ 1 1ᵀ, so W Wᵀ = R;
    - truth: y_t = Σ_{k=1..d} a_k He_k(w_tᵀ z) / √k!, with a_k = 1/√d and He_k the Hermite polynomials of probability;
    - target: y_t + noise · (√0.3 η'_i + √0.7 ε_ij), drawn for each task: a person differs from others in ways nothing shows;
    - features: x_f = tanh(m_fᵀ z) + 0.2 η''_if + 0.1 ε_ijf, with m_f unit vectors drawn at random;
    - waveforms: (1 + ½ tanh p_cᵀ z) sin(2π (f_c + ½ tanh r_cᵀ z) t + φ) + 0.1 ε, f = 1 and 2 Hz, φ drawn for each window;
    - with ``conflict``: m_f = √½ Σ_t h_ft u_t / √T + √½ (a unit vector orthogonal to all u_t), h_ft = ±1: +1 for the first
      task; for each other task +1 in half of the features and −1 in the other half.

    Ours: Hermite polynomials. For standard normal pairs of correlation ρ, E[He_k He_l] = k! ρ^k if k = l, else 0 (Mehler), so
    the correlation of two truths is known: (1/d) Σ_k ρ^k; and each truth has mean 0 and variance 1. Also ours: R^½ in place of
    the two vectors of Ma et al., which serves any number of tasks; people; waveforms; and ``conflict``. We follow
    the idea of MultiTab-Bench, not its formulas.
    """
    asked = SyntheticTasks(correlation, degree, noise, n_subjects, windows_per_subject, targets, conflict)
    rng = np.random.default_rng(seed)
    who = np.arange(n_subjects).repeat(windows_per_subject)
    axes = _orthonormal(rng)
    own = axes[:targets]
    latent = _spread(rng, who, LATENTS)
    truth = polynomials(latent @ weights(correlation, own).T, degree)
    told = truth + noise * _spread(rng, who, targets)
    mixed = latent @ (_opposed(rng, own, axes[targets:]) if asked.conflict else _directions(rng, FEATURES)).T
    offset = OFFSET_SD * rng.normal(size=(n_subjects, FEATURES))[who]
    values = np.tanh(mixed) + offset + INPUT_NOISE_SD * rng.normal(size=mixed.shape)
    return _table(who, values.astype(np.float32), _waves(rng, latent), told.astype(np.float32))


def weights(correlation: float, own: F64) -> F64:
    """Return W = R^½ U (T, q) of orthonormal rows U (T, q): unit vectors of which each two have the same correlation."""
    tasks = len(own)
    kinship = (1.0 - correlation) * np.eye(tasks) + correlation
    values, vectors = np.linalg.eigh(kinship)
    root = vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    return np.asarray(root @ own)


def polynomials(x: F64, degree: int) -> F64:
    """Return Σ_{k=1..d} He_k(x) / √(d k!), of variance 1 and mean 0 for standard normal x; the shape stays.

    He_0 = 1, He_1 = x, He_{k+1} = x He_k − k He_{k−1}.
    """
    before, here = np.ones_like(x), x
    total = here.copy()
    for k in range(1, degree):
        before, here = here, x * here - k * before
        total += here / math.sqrt(math.factorial(k + 1))
    return np.asarray(total / math.sqrt(degree))


def truth_correlation(correlation: float, degree: int) -> float:
    """Return the correlation of two noise-free targets: the mean of ρ^k over k = 1 … d.

    >>> truth_correlation(0.8, 1), truth_correlation(0.5, 2)
    (0.8, 0.375)
    """
    return sum(correlation**k for k in range(1, degree + 1)) / degree


def _orthonormal(rng: Generator) -> F64:
    """Return q orthonormal rows, drawn uniformly (QR of a normal matrix with the signs of R taken out)."""
    q, r = np.linalg.qr(rng.normal(size=(LATENTS, LATENTS)))
    return np.asarray((q * np.sign(np.diag(r))).T)


def _spread(rng: Generator, who: I64, columns: int) -> F64:
    """Return standard normal numbers (window, column), of whose variance a share lies between subjects."""
    between = rng.normal(size=(int(who.max()) + 1, columns))[who]
    return np.asarray(math.sqrt(BETWEEN) * between + math.sqrt(1.0 - BETWEEN) * rng.normal(size=between.shape))


def _directions(rng: Generator, n: int) -> F64:
    """Return unit vectors (n, q)."""
    drawn = rng.normal(size=(n, LATENTS))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def _opposed(rng: Generator, own: F64, rest: F64) -> F64:
    """Return the features' directions (feature, q) with conflict, see `synthetic_tasks`."""
    half = np.arange(FEATURES) % 2 == 0
    sign = np.stack([np.ones(FEATURES)] + [np.where(rng.permutation(half), 1.0, -1.0) for _ in own[1:]], axis=1)
    tasks = sign @ own / math.sqrt(len(own))
    if not len(rest):
        return np.asarray(tasks)
    aside = rng.normal(size=(FEATURES, len(rest)))
    aside = aside / np.linalg.norm(aside, axis=1, keepdims=True) @ rest
    return np.asarray(math.sqrt(0.5) * (tasks + aside))


def _waves(rng: Generator, latent: F64) -> F32:
    channels = len(CHANNELS)
    size, speed = (np.tanh(latent @ _directions(rng, channels).T)[..., None] for _ in range(2))
    usual = np.arange(1.0, channels + 1)[:, None]
    phase = rng.uniform(0, 2 * np.pi, (len(latent), channels, 1))
    time = np.arange(SAMPLES) / FS
    clean = (1.0 + 0.5 * size) * np.sin(2 * np.pi * (usual + 0.5 * speed) * time + phase)
    return (clean + INPUT_NOISE_SD * rng.normal(size=clean.shape)).astype(np.float32)


def _table(who: I64, values: F32, waves: F32, told: F32) -> WindowTable:
    import pandas as pd

    n = len(who)
    turn = np.arange(n) - np.searchsorted(who, who)
    subject = np.array([f"s{k + 1:03d}" for k in range(int(who.max()) + 1)])[who]
    names = tuple(f"task{t + 1}" for t in range(told.shape[1]))
    columns = {
        "dataset": "synthetic_tasks", "subject_level": "person", "subject": subject, "session": "1", "record": subject,
        "stimulus": "", "onset_s": turn * SAMPLES / FS, "end_s": (turn + 1) * SAMPLES / FS, "fs": FS,
        "timing_reliable": False, "sqi": np.float32(1.0), "label_source": "simulated",
        "window_id": [f"{k:016x}" for k in range(n)],
    }  # fmt: skip
    index = pd.DataFrame(columns | dict(zip(names, told.T, strict=True)))
    features = tuple(f"{FAMILIES[f * len(FAMILIES) // FEATURES]}.f{f:02d}" for f in range(FEATURES))
    return WindowTable(index, values, features, waves, CHANNELS, FS, told, names)
