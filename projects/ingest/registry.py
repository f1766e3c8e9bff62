"""The upload formats: every module of this folder that registers one, found by itself."""

import importlib
import pkgutil
from functools import cache
from typing import IO

import projects.ingest
from projects.ingest import compressed, disguises
from projects.ingest.formats import BadFile, Format

_formats: dict[str, Format] = {}

HEAD = 64 << 10  # bytes that recognition may look at


class DuplicateKey(TypeError):
    """Two formats claim one permanent key."""


def register(cls: type[Format]) -> type[Format]:
    """Class decorator: adds the format under its permanent key."""
    if cls.key in _formats:
        raise DuplicateKey(f"{cls.key} is registered twice.")
    _formats[cls.key] = cls()
    return cls


@cache
def _load() -> None:
    for module in pkgutil.iter_modules(projects.ingest.__path__):
        importlib.import_module(f"{projects.ingest.__name__}.{module.name}")


def formats() -> dict[str, Format]:
    """All formats by key, in the order of their labels."""
    _load()
    return dict(sorted(_formats.items(), key=lambda item: item[1].label))


def get(key: str) -> Format:
    """Raises BadFile for a key that is not (or no longer) known."""
    found = formats().get(key)
    if found is None:
        raise BadFile(f"There is no upload format called {key!r}.")
    return found


def recognise(file: IO[bytes], name: str, task: str = "") -> Format:
    """The format of a file, or of what is inside of a gzip file, by its first bytes and then by its
    name; of several, the one that most of it fits, or one of the same files that is for the task,
    if that is known.

    Raises BadFile with what the file is instead and what to do about it.
    """
    file = compressed.opened(file)
    name = compressed.name_inside(file, name)
    head = file.read(HEAD)
    if not head.strip(b"\r\n\t \x00\xef\xbb\xbf\xfe\xff"):
        raise BadFile("The file is empty." if not head else "The file holds nothing but blanks.")
    fitting = [one for one in formats().values() if one.recognises(head, name)]
    if not fitting:
        raise BadFile(disguises.sentence(head, name))
    found = fitting[0] if len(fitting) == 1 else max(fitting, key=lambda one: one.fits(file))
    if task and task not in found.tasks:  # of texts with pictures beside, the pictures
        same = [one for one in fitting if one.suffixes == found.suffixes and task in one.tasks]
        return same[0] if same else found
    return found
