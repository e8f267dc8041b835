"""Networks that have seen windows before they are told labels: pre-train on one data set, start from it on another.

How windows are learned to be seen is in `biosig_mtl.training.masking`. On one and the same set the honest way is to pre-train
inside each fold, on its training windows alone (``training.pretrain.epochs`` in a recipe); a folder that `pretrain` writes has
seen every window of its set, so `finetune` is for *other* people, and refuses any that the pre-training has seen: by id, and by
stretches of waveform that two ids share.

The folder has numbers as safetensors and words as JSON, nothing else. Ids are in it as digests only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from biosig_mtl import experiment, store
from biosig_mtl.evaluation.duplicates import linked_subjects
from biosig_mtl.experiment import answers, members, tables
from biosig_mtl.models.electrodes import per_electrode
from biosig_mtl.models.tokens import Tokens, families
from biosig_mtl.recipe import Recipe
from biosig_mtl.training import Scaler, spec_of
from biosig_mtl.training.masking import MaskingSettings, Unlabelled, token_makers
from biosig_mtl.training.masking import pretrain as pretrain_tokens
from biosig_mtl.training.person import relative
from biosig_mtl.training.threads import one_thread
from biosig_mtl.types import I64, DataError, Fold, InputSpec, Scores, TrackSpec, WindowTable

FORMAT = 1
WEIGHTS_FILE, WORDS_FILE = "weights.safetensors", "pretrained.json"
SEEN = "seen.fingerprints", "seen.person"  # tensors of the folder that are no weights
# The tensors of encoders that count channels, on their second axis.
BY_CHANNEL = ("encoder.stem.0.weight", "encoder.patch.weight")
USUAL = MaskingSettings()
ALONE = experiment.Crew()


@dataclass(frozen=True)
class Pretrained:
    """A pre-trained token maker: its weights by name, what it was made for, the rate ``fs`` of its waveform.

    ``people`` are digests of everybody that it has seen; ``fingerprints`` (n, hash) and ``person`` (n,) are of the windows.
    """

    name: str
    sha256: str
    tensors: Mapping[str, Tensor]
    spec: InputSpec
    fs: float
    people: frozenset[str]
    fingerprints: np.ndarray[Any, Any]
    person: I64

    @classmethod
    def read(cls, folder: Path, sha256: str = "") -> Pretrained:
        """Read what `pretrain` wrote.

        Raises
        ------
        DataError
            It is no such folder, it was altered, or it is not the one with that ``sha256``.
        """
        from safetensors.torch import load

        try:
            told = json.loads((folder / WORDS_FILE).read_text(encoding="utf-8"))
            content = (folder / WEIGHTS_FILE).read_bytes()
        except (OSError, ValueError) as error:
            raise DataError(f"{folder}: not a folder of `biosig-mtl pretrain`, or damaged: pre-train again") from error
        if told.get("format") != FORMAT:
            raise DataError(f"{folder / WORDS_FILE}: has format {told.get('format')}, this version reads {FORMAT}")
        found = hashlib.sha256(content).hexdigest()
        if found != told["sha256"] or sha256 not in {"", found}:
            raise DataError(f"{folder / WEIGHTS_FILE}: was altered after pre-training: restore the file or pre-train again")
        tensors = load(content)
        prints, person = (tensors.pop(name).numpy() for name in SEEN)
        tracks = tuple(TrackSpec(t["name"], tuple(t["channels"]), t["samples"], t["fs"]) for t in told["spec"]["tracks"])
        inputs = told["spec"]
        spec = InputSpec(tuple(inputs["waveform_channels"]), inputs["samples"], tuple(inputs["features"]), (), tracks)
        people = frozenset(told["people"])
        return cls(folder.name, found, tensors, spec, told["fs"], people, prints.view(np.uint64), person)


def pretrain(
    recipe: Recipe, stores: Sequence[Path], out: Path, settings: MaskingSettings = USUAL, seed: int = 0
) -> dict[str, Any]:
    """Pre-train the token maker of a recipe's network on all windows of its (first) data set, without any label.

    Parameters
    ----------
    recipe
        Its model block says which tokens; its ``training.per_subject`` which features.
    stores
        As for a run. The test side of a transfer is not read.
    out
        Folder to write: ``weights.safetensors`` and ``pretrained.json``.
    settings
        See `MaskingSettings`.
    seed
        Of weights, masks and order.

    Returns
    -------
    dict
        What ``pretrained.json`` holds: inputs, settings, ``losses`` of the epochs, digests of the people seen.

    Raises
    ------
    DataError
        The network has no tokens, or the set no windows.
    """
    from safetensors.torch import save_file

    name, made, training = members.settings(recipe)
    table = relative(tables.read(stores), training.per_subject)
    rows = np.arange(len(table), dtype=np.int64)
    if "transfer_test" in table.index:
        rows = rows[~table.index["transfer_test"].to_numpy(dtype=bool)]
    blank = replace(table, targets=np.zeros_like(table.targets), heads=())
    with one_thread():
        model = members.fresh(name, made, spec_of(blank), seed)
        losses = pretrain_tokens(model, Unlabelled(blank, rows, Scaler.fit(blank, rows)), settings, seed)
    keys = keys_of(table, rows)
    names, person = np.unique(keys, return_inverse=True)
    prints = tables.read_fingerprints(stores)[table.index["store_row"].to_numpy()[rows]]
    tensors = {key: value.contiguous() for key, value in token_makers(model)[0].state_dict().items()}
    tensors |= dict(zip(SEEN, (torch.from_numpy(prints.view(np.int64)), torch.from_numpy(person)), strict=True))
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / f"{WEIGHTS_FILE}.part")
    (out / f"{WEIGHTS_FILE}.part").replace(out / WEIGHTS_FILE)
    spec = {key: value for key, value in asdict(spec_of(blank)).items() if key not in {"targets", "heads"}}
    told = {
        "format": FORMAT,
        "model": name,
        "dataset": recipe.data.dataset,
        "windows": rows.size,
        "people": [_digest(one) for one in names.tolist()],
        "stores": [folder.name for folder in stores],
        "simulated": any(store.summary(folder).get("about", {}).get("simulated", False) for folder in stores),
        "spec": spec,
        "fs": float(table.fs),
        "settings": asdict(settings),
        "seed": seed,
        "losses": list(losses),
        "sha256": hashlib.sha256((out / WEIGHTS_FILE).read_bytes()).hexdigest(),
    }
    part = out / f"{WORDS_FILE}.part"
    part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    part.replace(out / WORDS_FILE)  # last: a half-written folder is none
    return told


@dataclass(frozen=True)
class Start:
    """Makes networks of a run start from a pre-trained folder; the run calls it with each network that it made.

    The digest goes with it, so that all networks of a run start from the same numbers.
    """

    folder: Path
    sha256: str

    def __call__(self, model: nn.Module, table: WindowTable, fold: Fold) -> tuple[str, ...]:
        """Load what fits and say so; raise `DataError` where a fold tests people that the pre-training has seen."""
        found = Pretrained.read(self.folder, self.sha256)
        _refuse_known(found, table, fold.test)
        return start_from(model, found, table.fs)


def finetune(
    recipe: Recipe, stores: Sequence[Path], pretrained: Path, out: Path, crew: experiment.Crew = ALONE
) -> tuple[Scores, tuple[str, ...]]:
    """Run a recipe with networks that start from a pre-trained folder; return scores, and what was taken in words.

    The run folder is that of a usual run. Its title names the digest of the start, so that no other run goes on in it.

    Raises
    ------
    DataError
        People to be tested were seen in pre-training, nothing of it fits the networks, or the folder was altered.
    """
    found = Pretrained.read(pretrained)
    table = answers.table_of(recipe, stores)
    is_test = table.index["transfer_test"].to_numpy(dtype=bool) if "transfer_test" in table.index else np.ones(len(table), bool)
    rows = np.flatnonzero(is_test)
    _refuse_known(found, table, rows)
    _refuse_linked(found, tables.read_fingerprints(stores)[table.index["store_row"].to_numpy()[rows]], table.subject[rows])
    name, made, _ = members.settings(recipe)
    # Whether it fits is found out before anything is trained.
    said = start_from(members.fresh(name, made, spec_of(table), 0), found, table.fs)
    title = f"{recipe.title or recipe.name} (networks start from {found.name}, {found.sha256[:12]})"
    scores = experiment.run(
        replace(recipe, title=title), stores, out, workers=crew.workers, progress=crew.progress, facts=crew.facts,
        begin=Start(pretrained, found.sha256),
    )  # fmt: skip
    return scores, said


# ------------------------------------------------------------------------------------------------------------ who was seen
def keys_of(table: WindowTable, rows: I64) -> np.ndarray[Any, np.dtype[np.str_]]:
    """Return data set and subject of rows, as ``dataset/subject``."""
    subject = table.subject[rows]
    if "dataset" not in table.index:
        return subject
    dataset = table.index["dataset"].to_numpy(dtype=str)[rows]
    # Tables of a transfer name the set with the subject already.
    named = (one if one.startswith(f"{of}/") else f"{of}/{one}" for of, one in zip(dataset, subject, strict=True))
    return np.array(list(named), dtype=str)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def _refuse_known(found: Pretrained, table: WindowTable, rows: I64) -> None:
    known = {one for one in np.unique(keys_of(table, rows)).tolist() if _digest(one) in found.people}
    if known:
        raise DataError(
            f"{found.name}: has seen {len(known)} of the people to be tested; pre-train on another set, or inside each fold "
            "(--set training.pretrain.epochs=30)"
        )


def _refuse_linked(found: Pretrained, fingerprints: np.ndarray[Any, Any], subject: np.ndarray[Any, Any]) -> None:
    seen = np.char.add("seen/", found.person.astype(str))
    both = np.concatenate([seen, np.char.add("tested/", subject)])
    pairs = linked_subjects(np.concatenate([found.fingerprints, fingerprints]), both)
    if across := [b for a, b in pairs if a.startswith("seen/") and b.startswith("tested/")]:
        raise DataError(f"{found.name}: has seen waveforms of people to be tested, under other ids: {', '.join(across[:5])}")


# ------------------------------------------------------------------------------------------------------------ what is taken
def start_from(model: nn.Module, pretrained: Pretrained | Path, fs: float) -> tuple[str, ...]:
    """Load what fits of a pre-trained token maker into a network, by name; say what was taken and what was not.

    Channels, electrodes and features are matched by name: what is new keeps its random start. An encoder is taken whole or not
    at all, and only at its own sampling rate (``fs`` is that of the network's waveform, in Hz).

    Raises
    ------
    DataError
        The network has no tokens, its width is another, or nothing fits.
    """
    found = Pretrained.read(pretrained) if isinstance(pretrained, Path) else pretrained
    makers = [part for part in model.modules() if isinstance(part, Tokens)]
    if not makers:
        raise DataError(f"{found.name}: this network has no tokens to start: choose another model.name")
    width = makers[0].norm.weight.shape[0]
    if (old := found.tensors["norm.weight"].shape[0]) != width:
        raise DataError(f"{found.name}: was made for tokens of width {old}, the network has {width}: --set model.width={old}")
    said: list[str] = []
    for maker in makers:
        state = maker.state_dict()
        parts = [(name, part) for name, part in _parts(maker, state, found, fs)]
        if not any(part for _, part in parts):
            raise DataError(f"{found.name}: nothing of it fits this network: {', '.join(name for name, _ in parts)}")
        for _, part in parts:
            state |= part
        maker.load_state_dict(state | {key: found.tensors[key] for key in ("norm.weight", "norm.bias")})
        taken, left = ([name for name, part in parts if bool(part) is which] for which in (True, False))
        said = [f"the network starts from {found.name} ({found.sha256[:12]}); taken: {', '.join(taken)}"]
        said += [f"not in it or of another make, born anew: {', '.join(left)}"] if left else []
    return tuple(said)


Parts = Iterator[tuple[str, dict[str, Tensor]]]


def _parts(maker: Tokens, state: Mapping[str, Tensor], found: Pretrained, fs: float) -> Parts:
    """Yield the parts of a maker by name, with the tensors that each can take: none where it does not fit."""
    new, old = maker.spec, found.spec
    if maker.waveform is not None:
        fits = fs == found.fs
        own, had = new.waveform_channels, old.waveform_channels
        yield _called("waveform", own, had), _encoder("waveform.", state, found, (own, had)) if fits else {}
    tracks = {track.name: track for track in old.tracks}
    for name in maker.uses_tracks:
        track = next(t for t in new.tracks if t.name == name)
        before = tracks.get(name)
        fits = before is not None and before.fs == track.fs
        had = before.channels if before is not None else ()
        said = name if state.keys() & {f"tracks.{name}.encoder.pool.out.weight"} else _called(name, track.channels, had)
        yield said, _encoder(f"tracks.{name}.", state, found, (track.channels, had)) if fits else {}
    yield from _families(maker, state, found)
    yield from _montages(maker, state, found)


def _called(name: str, own: Sequence[str], had: Sequence[str]) -> str:
    shared = [one for one in own if one in had]
    return f"{name} ({', '.join(shared)})" if shared else name


def _encoder(
    prefix: str, state: Mapping[str, Tensor], found: Pretrained, channels: tuple[Sequence[str], Sequence[str]]
) -> dict[str, Tensor]:
    own, had = channels
    taken: dict[str, Tensor] = {}
    for key, value in state.items():
        if not key.startswith(prefix):
            continue
        old = found.tensors.get(key)
        if old is None:
            return {}
        if key.endswith(BY_CHANNEL):
            mapped = _by_name(value, old, (own, had))
            if mapped is None:
                return {}
            taken[key] = mapped
        elif old.shape == value.shape:
            taken[key] = old
        else:
            return {}
    return taken


def _by_name(new: Tensor, old: Tensor, names: tuple[Sequence[str], Sequence[str]]) -> Tensor | None:
    """Return ``new`` with the columns (second axis) that ``old`` has under the same names; None where there are none."""
    own, had = names
    shared = [one for one in own if one in had]
    if not shared or new.shape[0] != old.shape[0] or new.shape[2:] != old.shape[2:]:
        return None
    mixed = new.clone()
    mixed[:, [own.index(one) for one in shared]] = old[:, [had.index(one) for one in shared]]
    return mixed


def _families(maker: Tokens, state: Mapping[str, Tensor], found: Pretrained) -> Parts:
    """Yield the families of features that are one map each, and the rows of their embedding."""
    if maker.features is None:
        return
    pooled = {key.split(".")[1] for key in found.tensors if key.startswith("montages.")}
    old = {name: columns for name, columns in families(found.spec.features).items() if name not in pooled}
    embedding = state["features.embedding"].clone()
    for i, (name, columns) in enumerate(maker.features.groups.items()):
        own, had = ([spec.features[j] for j in c] for spec, c in ((maker.spec, columns), (found.spec, old.get(name, []))))
        shared = [one for one in own if one in had]
        if not shared:
            yield name, {}
            continue
        j = list(old).index(name)
        both = [[*names, *(f"{one} missing" for one in names)] for names in (own, had)]
        weight = _by_name(state[f"features.maps.{i}.weight"], found.tensors[f"features.maps.{j}.weight"], (both[0], both[1]))
        assert weight is not None
        embedding[i] = found.tensors["features.embedding"][j]
        yield (
            f"{name} ({len(shared)} of {len(own)})",
            {
                f"features.maps.{i}.weight": weight,
                f"features.maps.{i}.bias": found.tensors[f"features.maps.{j}.bias"],
                "features.embedding": embedding.clone(),
            },
        )


def _montages(maker: Tokens, state: Mapping[str, Tensor], found: Pretrained) -> Parts:
    """Yield the families that are pooled over electrodes: these may be others, their quantities may not."""
    new, old = (per_electrode(spec.features) for spec in (maker.spec, found.spec))
    for name in maker.montages or {}:
        same = name in old and _quantities(maker.spec, new[name][1][0]) == _quantities(found.spec, old[name][1][0])
        yield name, _encoder(f"montages.{name}.", state, found, ((), ())) if same else {}


def _quantities(spec: InputSpec, columns: Sequence[int]) -> list[str]:
    words = [spec.features[column].split(".") for column in columns]
    return [".".join([one[1], *one[3:]]) for one in words]
