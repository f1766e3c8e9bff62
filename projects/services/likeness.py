"""Rows by how near they are to one of them, or to words. Who has vectors of rows stands in another
app, whose AppConfig names the module as its `likeness`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, cast

from django.apps import apps

from distillhub.lib.errors import Invalid
from distillhub.lib.later import np
from projects.models import DatasetVersion

MOST_WORDS = 2000  # characters


@dataclass(frozen=True, slots=True)
class Like:
    """What rows are held against: a row, or words."""

    row_id: int | None = None
    words: str = ""
    map: str = ""  # whose vectors: a model's reference or `built-in`; empty: of the newest map


class Finder(Protocol):
    def scores(self, *, version: DatasetVersion, like: Like) -> np.ndarray[Any, Any]:
        """`[rows]`, float32: the cosine of each row's vector with what it is held against, to be
        read only. Raises Conflict where no map can say it, and Missing for a row that is none."""
        ...


def asked(*, like: int | None = None, meaning: str = "", by: str = "") -> Like | None:
    """What an address or a body asks for; None where it does not. Raises Invalid."""
    words = meaning.strip()[:MOST_WORDS]
    if like is None and not words:
        return None
    if like is not None and words:
        sentence = "Rows are sought by a row or by words, not by both."
        raise Invalid(sentence, fields={"meaning": [sentence]})
    return Like(like, words, by.strip())


def scores(*, version: DatasetVersion, like: Like) -> np.ndarray[Any, Any]:
    """As a Finder's."""
    return _finder().scores(version=version, like=like)


@cache
def _finder() -> Finder:
    named = [one.likeness for one in apps.get_app_configs() if hasattr(one, "likeness")]
    return cast(Finder, importlib.import_module(named[0]))
