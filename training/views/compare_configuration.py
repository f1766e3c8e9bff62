"""The configurations of a comparison, path by path, against the baseline."""

from collections.abc import Sequence
from typing import Any

from django.http import QueryDict

from distillhub.templatetags import ui
from training.services import compare

LONGEST = 200  # characters of a value that are shown
MARKS = {"changed": "~", "added": "+", "removed": "−"}


def context(runs: Sequence[Any], base: int | None, asked: QueryDict) -> dict[str, Any]:
    found = compare.of(list(runs), base=base)
    every = asked.get("all") == "yes"
    return {
        "baseline": found.baseline,
        "settings": [
            {
                "path": one.path,
                "cells": [
                    {
                        "text": _written(value, change),
                        "change": change,
                        "mark": MARKS.get(change, ""),
                        "is_base": place == found.base,
                    }
                    for place, (value, change) in enumerate(
                        zip(one.values, one.changes, strict=True)
                    )
                ],
            }
            for one in found.settings
        ],
        "same": [(path, ui.setting(value)[:LONGEST]) for path, value in found.same.items()],
        "every": every,
    }


def _written(value: Any, change: str) -> str:
    if change in ("removed", "none"):
        return ""
    text = ui.setting(value, "empty")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
