"""What is estimated: targets with their units and plausible ranges."""

from __future__ import annotations

from biosig_mtl.types import Head, Target, Task

BLOOD_PRESSURE = Task(
    name="blood_pressure",
    # The plausible range is that of the benchmark rules (bp-benchmark: max <= 220, min >= 30 mmHg), not of a healthy adult.
    targets=(Target("sbp", "mmHg", 60.0, 220.0), Target("dbp", "mmHg", 30.0, 150.0)),
    reference_kinds=frozenset({"abp"}),
)

AFFECT = Task(
    name="affect",
    # One scale for all data sets: ratings are brought to 1–9 (self-assessment manikin) from the scale of the set.
    targets=(Target("valence", "points", 1.0, 9.0), Target("arousal", "points", 1.0, 9.0)),
    reference_kinds=frozenset({"label"}),
)

STRESS = Task(
    name="stress",
    targets=(Target("stress", "share", 0.0, 1.0),),
    reference_kinds=frozenset({"label"}),
    heads=(Head("binary", (0.5,)),),
)

TASKS: dict[str, Task] = {task.name: task for task in (BLOOD_PRESSURE, AFFECT, STRESS)}
