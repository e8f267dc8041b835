"""GAMEEMO: 14 EEG channels of 28 people who played four games of five minutes.

The people rated valence and arousal on paper; the set holds these forms as scanned pictures (PDF), so no rating can be read
and none is given. The games were chosen to be boring, calm, horrible and funny: that is the stimulus, not a rating.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from biosig_mtl.data.affect.columns import read_columns
from biosig_mtl.data.found import Found, natural
from biosig_mtl.data.readers.channels import kind_of, match
from biosig_mtl.data.readers.files import check_file, read_start
from biosig_mtl.data.readers.samples import as_samples
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.recipe import choose
from biosig_mtl.types import ChannelInfo, DataError, Entry

CHANNELS = ("AF3", "AF4", "F3", "F4", "F7", "F8", "FC5", "FC6", "O1", "O2", "P7", "P8", "T7", "T8")
FS_HZ = 128.0
GAMES = {"G1": "boring", "G2": "calm", "G3": "horror", "G4": "funny"}
_VARIANTS = {"preprocessed": "AllChannels", "raw": "AllRawChannels"}


def list_gameemo(root: Path, options: Mapping[str, Any]) -> Iterator[Found]:
    """List one record a person and game (``S01/G1``), from the texts of the variant ``preprocessed`` (default) or ``raw``.

    Raises
    ------
    DataError
        None of these texts is there.
    """
    variant = choose(str(options.get("variant", "preprocessed")), _VARIANTS, "variant of GAMEEMO")
    name = re.compile(rf"(?P<subject>S\d+)(?P<game>G[1-4]){_VARIANTS[variant]}\.csv")
    paths = sorted((p for p in root.rglob("S*.csv") if name.fullmatch(p.name)), key=lambda p: natural(p.name))
    if not paths:
        raise DataError(f"{root}: no text S<number>G<game>{_VARIANTS[variant]}.csv of GAMEEMO")
    for path in paths:
        found = name.fullmatch(path.name)
        if found:
            game = found["game"]
            yield Found(f"{found['subject']}/{game}", found["subject"], path, stimulus=f"{game}_{GAMES[game]}")


def open_gameemo(entry: Entry) -> LazySource:
    """Open one game: 14 channels at 128 Hz, in µV.

    Channels are found by their names in the heading, whose order is not that of other sets of the same headset; the last
    column is empty and left out.
    """
    check_file(entry.path)
    heading = read_start(entry.path, 4096).split(b"\n")[0].decode("utf-8-sig", errors="replace")
    names = [" ".join(cell.split()) for cell in heading.replace('"', "").split(",") if cell.strip()]
    chosen = match(names, entry.channels, str(entry.path))
    present = {ours: names[position] for ours, (_, position) in chosen.items()}
    columns = read_columns(entry.path, tuple(present.values()))
    samples = {ours: as_samples(columns[name]) for ours, name in present.items()}
    return LazySource(
        entry=entry,
        channels={ours: ChannelInfo(ours, kind_of(ours), "uV", FS_HZ) for ours in present},
        source_names=present,
        fs=FS_HZ,
        frames=len(next(iter(samples.values()))),
        fetch=lambda first, stop: {ours: values[first:stop] for ours, values in samples.items()},
    )
