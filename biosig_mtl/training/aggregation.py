"""Rules that make one direction of the gradients of several targets; the rules are those of torchjd, an optional extra.

A thin adapter: what the rule is given and how long its answer is are ours, the rule itself is not.

- A rule sees the gradients of task losses alone. Other terms of the loss are added afterwards: MGDA takes a mutual-information
  term for a third task and gives it all the weight.
- A row of zeros is left out: for MGDA it is a task that cannot get better, and the answer is not to move at all.
- Length is ours. Rules that average (their papers or torchjd do) are multiplied by the number of rows, so that gradients that
  agree give their plain sum (``cagrad`` 1 + c times it), and the weights of the other terms keep their meaning. ``nash_mtl``
  and ``fairgrad`` say a direction whose length has nothing to do with that of the gradients: it gets the length of the sum.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from biosig_mtl.types import RecipeError

Matrix = Callable[[Tensor], Tensor]
Length = Literal["own", "count", "sum"]
GRAD = 'pip install "biosig-mtl[grad]"'


@dataclass(frozen=True)
class Rule:
    """A rule of torchjd by the name of its class, what it needs beside torchjd, and how long its answer shall be.

    ``length``: its ``own``; times the ``count`` of rows; or that of the plain ``sum``. ``counts``: it is made for a number of
    tasks. ``remembers``: its answer depends on earlier ones.
    """

    name: str
    length: Length = "own"
    needs: tuple[str, ...] = ()
    words: Mapping[str, Any] = field(default_factory=dict)
    counts: bool = False
    remembers: bool = False


AGGREGATORS: dict[str, Rule] = {
    "upgrad": Rule("UPGrad", "count", ("qpsolvers", "quadprog")),  # Quinton & Rey, arXiv 2406.16232
    "mgda": Rule("MGDA", "count"),  # Sener & Koltun, NeurIPS 2018, algorithm 2
    "pcgrad": Rule("PCGrad"),  # Yu et al., NeurIPS 2020; draws the order of projections
    "cagrad": Rule("CAGrad", "count", ("cvxpy", "clarabel"), {"c": 0.5}),  # Liu et al., NeurIPS 2021
    "imtl_g": Rule("IMTLG", "count"),  # Liu et al., ICLR 2021
    "aligned_mtl": Rule("AlignedMTL", "count"),  # Senushkin et al., CVPR 2023
    "nash_mtl": Rule("NashMTL", "sum", ("cvxpy", "ecos"), {"max_norm": 0.0}, counts=True, remembers=True),  # Navon, ICML 2022
    "fairgrad": Rule("FairGrad", "sum", words={"alpha": 1.0}),  # Ban & Ji, ICML 2024
    "graddrop": Rule("GradDrop"),  # Chen et al., NeurIPS 2020; draws which sign survives
    "config": Rule("ConFIG"),  # Liu et al., ICLR 2025
    "dualproj": Rule("DualProj", "count", ("qpsolvers", "quadprog")),  # Lopez-Paz & Ranzato, NeurIPS 2017
}


class Aggregation:
    """One rule of `AGGREGATORS` at work; ``sum`` is the plain sum and needs no extra.

    ``skipped`` counts calls in which the rule said something that is not finite; the plain sum was taken.

    Raises
    ------
    RecipeError
        Where a package that the rule needs is not installed.
    """

    def __init__(self, word: str) -> None:
        self.rule = AGGREGATORS.get(word)
        self.skipped = 0
        self._made: dict[int, Any] = {}
        if self.rule is not None:
            _check_installed(word, self.rule)

    def __call__(self, rows: Tensor) -> Tensor:
        """Return a direction (P,) for gradients (m, P)."""
        plain = rows.sum(0)
        here = rows[(rows != 0).any(1)]
        if self.rule is None or len(here) < 2:
            return plain
        rule = self._for(len(here))
        with warnings.catch_warnings():
            # cvxpy says how Nash-MTL's program could be posed for faster solving; nobody here can act on it.
            warnings.filterwarnings("ignore", message=".*not DPP.*")
            said: Tensor = rule(here).to(rows.dtype)
        if not bool(torch.isfinite(said).all()):
            self.skipped += 1
            return plain
        if self.rule.length == "count":
            said = said * len(here)
        elif self.rule.length == "sum":
            said = said * (plain.norm() / said.norm().clamp(min=1e-12))
        return said

    def _for(self, tasks: int) -> Matrix:
        """Return the rule of torchjd for a number of tasks; only some care, and only those are made anew for another."""
        assert self.rule is not None
        key = tasks if self.rule.counts else 0
        if key not in self._made:
            made = getattr(importlib.import_module("torchjd.aggregation"), self.rule.name)
            self._made[key] = made(**self.rule.words, **({"n_tasks": tasks} if self.rule.counts else {}))
        rule: Matrix = self._made[key]
        return rule

    def state_dict(self) -> dict[str, Any]:
        """Return what the rule remembers: the last bargain of Nash-MTL, by number of tasks."""
        remembers = self.rule is not None and self.rule.remembers
        kept = {m: torch.tensor(made.weighting.prvs_alpha) for m, made in self._made.items() if remembers}
        return {"skipped": self.skipped, "kept": kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was made."""
        self.skipped = state["skipped"]
        for tasks, bargain in state["kept"].items():
            self._for(tasks)
            self._made[tasks].weighting.prvs_alpha = bargain.numpy()


def _check_installed(word: str, rule: Rule) -> None:
    extra = ("torchjd", *(name for name in rule.needs if name in {"qpsolvers", "quadprog"}))
    if absent := [name for name in extra if importlib.util.find_spec(name) is None]:
        raise RecipeError(f"training.weighting '{word}' needs {' and '.join(absent)}: {GRAD}, or choose sum")
    if absent := [name for name in rule.needs if importlib.util.find_spec(name) is None]:
        tell = f"pip install {' '.join(rule.needs)}"
        raise RecipeError(f"training.weighting '{word}' needs {' and '.join(absent)}: {tell}, or choose upgrad")
