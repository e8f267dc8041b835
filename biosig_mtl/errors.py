"""Errors that a user can act on; the other rooms know them through `biosig_mtl.types`."""

from __future__ import annotations


class BiosigError(Exception):
    """An error that a user can act on: one line that says what, where and what to do."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        """Keep the message to one line, whatever a library put into it."""
        super().__init__(" ".join(str(message).split()))


class RecipeError(BiosigError):
    """Wrong words: a recipe, a manifest, a setting or a command that cannot be followed."""

    exit_code = 2


class DataError(BiosigError):
    """Data that cannot be used: the message names the file, channel or subject."""

    exit_code = 3


class AuditError(BiosigError):
    """A run whose numbers must not be believed."""

    exit_code = 4
