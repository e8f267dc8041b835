"""Which channel of a file is which: by a declared map, or by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from biosig_mtl.types import DataError

# The places of the 10-20 system and its extensions.
_EEG_SITE = r"(fp|af|f|fc|ft|t|tp|c|cp|p|po|o|i)(z|\d{1,2})"
# An own name is only taken for an electrode where the 10-10 system has that place (Nuwer 2018, Fig. 1), or for a reference
# behind the ear: `c3po` and `t99` are none.
_ELECTRODE = (
    r"(fp[z12]|(af|f|p|po)(z|[1-9]|10)|(ft|tp)([7-9]|10)|t([3-9]|10)|(fc|c|cp)[z1-6]|[oi][z12]|cb[12]|[am][12])"
    r"([-_ ].*)?"
)

# In each kind: names in order of preference. Lead II shows the R wave upright, so it goes before the others; a wrist or finger
# artery line may be called ABP or ART. Pulmonary and venous pressures (PAP, CVP) are none of these. EXG1 to EXG8 of BioSemi may
# be eye, muscle or heart: only a manifest knows.
NAMES: dict[str, tuple[str, ...]] = {
    "ppg": (r"pleth\w*", r"ppg.*", r"bvp", r"plet", r".*photopleth.*"),
    "ecg": (r"ii", r"mlii", r"(ecg|ekg).*ii", r"i", r"mli", r"iii", r"mliii", r"(ecg|ekg).*", r"v\d?", r"mcl\d?", r"av[rlf]"),
    "abp": (r"abp.*", r"art\d?", r"ibp\d?", r"i?bp", r"ao", r"finap.*"),
    "eda": (r"eda.*", r"gsr.*"),
    "resp": (r"resp.*", r"rsp"),
    "temp": (r"temp(erature)?([ _-].*)?", r"skt", r"skin ?temp.*"),
    "emg": (r"(.*[ _-])?[zt]?emg.*",),
    "eog": (r"(.*[ _-])?[hv]?eog.*",),
    "acc": (r"acc([ _-]?[xyz])?",),
    "eeg": (rf"(eeg )?{_EEG_SITE}([-_ ].*)?", r"eeg.*"),
}
# Of these kinds a record has one channel that counts; of EEG, EMG, EOG and acceleration it has several.
_SINGLE = ("ppg", "ecg", "abp", "eda", "resp", "temp")
_SEVERAL = ("eeg", "emg", "eog", "acc")
LONGEST_NAME = 80
# Values that a data set gives again and again; only by our own name: a column of that name may be anything.
LABELS = ("valence", "arousal", "dominance", "liking", "stress")


def kind_of(name: str) -> str:
    """Return the kind of one of our own channel names: ``ecg_40hz`` is an ``ecg``, an electrode of the 10-10 system ``eeg``.

    >>> kind_of("ppg"), kind_of("ecg_v5"), kind_of("AF3"), kind_of("EEG Fp1-Ref"), kind_of("valence"), kind_of("hr")
    ('ppg', 'ecg', 'eeg', 'eeg', 'label', 'other')
    """
    whole = name.strip().lower()
    word = re.split(r"[_\d\s]", whole, maxsplit=1)[0]
    if word in NAMES:
        return word
    if word in LABELS:
        return "label"
    return "eeg" if re.fullmatch(_ELECTRODE, whole) else "other"


def guess_kind(name: str) -> tuple[str, int]:
    """Return the kind of a channel in a file by its name, and its rank in that kind (0 is preferred).

    >>> guess_kind("PLETH"), guess_kind("MCL1"), guess_kind("CVP")
    (('ppg', 0), ('ecg', 9), ('other', 0))
    """
    word = name.strip(" '\"\t").lower()[:LONGEST_NAME]
    for kind, patterns in NAMES.items():
        for rank, pattern in enumerate(patterns):
            if re.fullmatch(pattern, word):
                return kind, rank
    return "other", 0


def match(present: Sequence[str], wanted: Mapping[str, tuple[str, ...]], where: str) -> dict[str, tuple[str, int]]:
    """Return, by our name, the kind and the position of each channel to read.

    Parameters
    ----------
    present
        Channel names in the file, in file order; the same name may occur twice.
    wanted
        Our name → names in the file in order of preference; empty: guess.
    where
        The file, for the message.

    Raises
    ------
    DataError
        None of the wanted channels is there.
    """
    if not wanted:
        return _guess(present)
    folded = [name.strip().lower() for name in present]
    chosen: dict[str, tuple[str, int]] = {}
    for ours, names in wanted.items():
        positions = [folded.index(n.strip().lower()) for n in names if n.strip().lower() in folded]
        if positions:
            chosen[ours] = (kind_of(ours), positions[0])
    if not chosen:
        looked = "; ".join(f"{ours}: {', '.join(names)}" for ours, names in wanted.items())
        raise DataError(f"{where}: none of the channels looked for ({looked}); it has {', '.join(present) or 'no channels'}")
    return chosen


def shown(name: str) -> str:
    r"""Return a name of a stranger's file fit for a line, a page and a column: one line, no letters that steer a terminal.

    >>> shown("PPG\x1b[31m\nred")
    'PPG�[31m red'
    """
    line = " ".join(name.split())
    line = line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 1]}…"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def fit(name: str) -> str:
    """Return a name of a record fit for a table as well: see `shown`; one that a spreadsheet would compute gets ``_`` in front.

    >>> fit("=cmd|' /C calc'!A0"), fit("-12"), fit("S01/1")
    ("_=cmd|' /C calc'!A0", '-12', 'S01/1')
    """
    line = shown(name)
    return f"_{line}" if is_formula(line) else line


def is_formula(name: str) -> bool:
    """Tell whether a spreadsheet that opens a CSV would take a cell for something to compute; a number is none."""
    return name[:1] in {"=", "+", "@", "-"} and not re.fullmatch(r"[-+]?[\d.,]*", name)


def _guess(present: Sequence[str]) -> dict[str, tuple[str, int]]:
    guesses = [(*guess_kind(name), position) for position, name in enumerate(present)]
    chosen: dict[str, tuple[str, int]] = {}
    for kind in _SINGLE:
        candidates = [(rank, position) for k, rank, position in guesses if k == kind]
        if candidates:
            chosen[kind] = (kind, min(candidates)[1])
    for kind in _SEVERAL:
        chosen |= _own_names(present, [p for k, _, p in guesses if k == kind], kind)
    # A file without a single known name is still read: its channels keep their own names.
    return chosen or _own_names(present, list(range(len(present))), "other")


def _own_names(present: Sequence[str], positions: Sequence[int], kind: str) -> dict[str, tuple[str, int]]:
    chosen: dict[str, tuple[str, int]] = {}
    for position in positions:
        name = shown(present[position]) or f"channel_{position + 1}"
        unique = name if name not in chosen else f"{name}#{position + 1}"
        chosen[unique] = (kind, position)
    return chosen
