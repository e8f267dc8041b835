"""What is estimated: targets with their units and plausible ranges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from biosig_mtl.types import F64, Head, Target, Task

BLOOD_PRESSURE = Task(
    name="blood_pressure",
    # The plausible range is that of the benchmark rules (bp-benchmark: max <= 220, min >= 30 mmHg), not of a healthy adult.
    targets=(Target("sbp", "mmHg", 60.0, 220.0), Target("dbp", "mmHg", 30.0, 150.0)),
    reference_kinds=frozenset({"abp"}),
)

AFFECT = Task(
    name="affect",
    # One scale for all data sets: ratings are brought to 1–9 (self-assessment manikin) from the scale of the set.
    targets=(Target("valence", "points", 1.0, 9.0, bounded=True), Target("arousal", "points", 1.0, 9.0, bounded=True)),
    reference_kinds=frozenset({"label"}),
)

STRESS = Task(
    name="stress",
    targets=(Target("stress", "share", 0.0, 1.0, bounded=True),),
    reference_kinds=frozenset({"label"}),
    heads=(Head("binary", (0.5,)),),
)

TASKS: dict[str, Task] = {task.name: task for task in (BLOOD_PRESSURE, AFFECT, STRESS)}


def within_scale(names: Sequence[str], estimates: F64) -> F64:
    """Return estimates (window, target) with those of bounded targets cut to their scale.

    >>> within_scale(("valence", "sbp"), np.array([[-3.0, 300.0]])).tolist()
    [[1.0, 300.0]]
    """
    known = {target.name: target for task in TASKS.values() for target in task.targets if target.bounded}
    low = [known[name].low if name in known else -np.inf for name in names]
    high = [known[name].high if name in known else np.inf for name in names]
    return np.clip(estimates, low, high)
