"""How a run is judged, as a recipe says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Name = Literal[
    "subject_kfold",
    "leave_one_subject_out",
    "leave_stimulus_out",
    "subject_and_stimulus",
    "trial_kfold",
    "epic_time",
    "epic_subject",
    "epic_elicitor",
    "epic_version",
    "calibrated_within_trial",
    "transfer",
    "random_window",
]
QUADRANTS = ("HVHA", "HVLA", "LVHA", "LVLA")
MAPS = {"quadrants": "epic_elicitor", "versions": "epic_version"}


@dataclass(frozen=True)
class Protocol:
    """How a run is judged: the split, its repetitions, and the controls that are trained beside the model.

    Parameters
    ----------
    scheme
        A name of `PROTOCOLS`, where each says what it promises.
    folds
        Number of folds; of subjects, stimuli or trials, as the scheme says. Schemes whose number is given by the data
        (leave-one-subject-out, EPiC's quadrants and versions, time, transfer) do not use it.
    seeds
        One whole set of folds is drawn for each.
    validation
        Share of the training side that early stopping may look at: of its subjects, stimuli, trials, or of its time.
    stratify
        Spread the classes of the targets evenly over the folds.
    negative_control
        Train once more on shuffled labels.
    ablations
        Feature families that are left out in a second, otherwise equal training.
    stimulus_folds
        Groups of stimuli of ``subject_and_stimulus``, which has ``folds`` × ``stimulus_folds`` folds.
    calibration_s
        Seconds at the start of each recording of a test subject whose labels ``calibrated_within_trial`` learns from.
    past_share
        Share of each recording that ``epic_time`` learns from, its validation part included.
    gap_s
        Seconds between what is learned from and what is tested where both are of one recording; None: one window.
    quadrants
        Stimulus → ``HVHA HVLA LVHA LVLA`` (high or low valence, high or low arousal) for ``epic_elicitor``. Empty: by the mean
        rating of the stimulus, high where it is above ``quadrant_edge``.
    quadrant_edge
        The middle of the rating scale, 5 on 1–9.
    versions
        Stimulus → version for ``epic_version``; two versions in all.
    """

    scheme: Name = "subject_kfold"
    folds: int = 5
    seeds: tuple[int, ...] = (0,)
    validation: float = 0.2
    stratify: bool = True
    negative_control: bool = True
    ablations: tuple[str, ...] = ()
    stimulus_folds: int = 2
    calibration_s: float = 10.0
    past_share: float = 0.6
    gap_s: float | None = None
    quadrants: dict[str, str] = field(default_factory=dict)
    quadrant_edge: float = 5.0
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if min(self.folds, self.stimulus_folds) < 2:
            raise ValueError(f"need folds >= 2 and stimulus_folds >= 2, got {self.folds} and {self.stimulus_folds}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"need one or more different seeds, got {self.seeds}")
        if min(self.seeds) < 0:
            raise ValueError(f"need seeds >= 0, got {self.seeds}")
        if not 0 < self.validation < 0.5:
            raise ValueError(f"need 0 < validation < 0.5, got {self.validation}")
        self._refuse_times()
        self._refuse_maps()

    def _refuse_times(self) -> None:
        if not self.calibration_s > 0 or not 0 < self.past_share < 1:
            raise ValueError(f"need calibration_s > 0 and 0 < past_share < 1, got {self.calibration_s} and {self.past_share}")
        if self.gap_s is not None and not self.gap_s >= 0:
            raise ValueError(f"need gap_s >= 0, got {self.gap_s}")

    def _refuse_maps(self) -> None:
        for name, scheme in MAPS.items():
            if getattr(self, name) and self.scheme != scheme:
                raise ValueError(f"need no {name} for {self.scheme}: they are for {scheme}")
        if wrong := sorted(set(self.quadrants.values()) - set(QUADRANTS)):
            raise ValueError(f"need quadrants out of {', '.join(QUADRANTS)}, got '{wrong[0]}'")
        if self.quadrants and len(set(self.quadrants.values())) < 2:
            raise ValueError("need stimuli of two or more quadrants")
        if self.versions and len(set(self.versions.values())) != 2:
            raise ValueError(f"need two versions, got {len(set(self.versions.values()))}")
