"""Which device a network is trained on."""

from __future__ import annotations

import os

import torch

from biosig_mtl.types import RecipeError


def chosen(word: str) -> torch.device:
    """Return the device that ``training.device`` means here: of several GPUs the one that ``LOCAL_RANK`` numbers.

    Raises
    ------
    RecipeError
        ``cuda`` was asked for and there is none.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if word == "cpu" or (word == "auto" and not count):
        return torch.device("cpu")
    if not count:
        raise RecipeError("training.device 'cuda': no GPU is found here; set auto or cpu")
    local = os.environ.get("LOCAL_RANK", "0")
    device = torch.device("cuda", int(local) % count if local.isdecimal() else 0)
    torch.cuda.set_device(device)
    return device
