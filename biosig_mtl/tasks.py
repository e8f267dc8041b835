"""What is estimated: targets with their units and plausible ranges."""

from __future__ import annotations

from biosig_mtl.types import Target, Task

BLOOD_PRESSURE = Task(
    name="blood_pressure",
    # The plausible range is that of the benchmark rules (bp-benchmark: max <= 220, min >= 30 mmHg), not of a healthy adult.
    targets=(Target("sbp", "mmHg", 60.0, 220.0), Target("dbp", "mmHg", 30.0, 150.0)),
    reference_kinds=frozenset({"abp"}),
)

TASKS: dict[str, Task] = {BLOOD_PRESSURE.name: BLOOD_PRESSURE}
