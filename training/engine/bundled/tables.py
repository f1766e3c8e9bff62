"""Rows of a table to numbers and ids of words. A row is a dictionary of its columns."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

UNKNOWN, MISSING, FIRST = 0, 1, 2  # ids of words
FAR = 10.0  # deviations: what lies beyond, lies there


class Inputs:
    def __init__(self, folder: Path, settings: dict[str, Any], shapes: dict[str, Any]) -> None:
        self.settings = settings
        self.words = [
            {word: FIRST + place for place, word in enumerate(known)} for known in settings["words"]
        ]

    def batch(self, rows: list[Any]) -> dict[str, Any]:
        """numbers, `[batch, numbers]`, and categories, `[batch, columns]`."""
        said = self.settings
        plain = np.array(
            [[_number(row.get(name)) for name in said["numeric"]] for row in rows],
            dtype=np.float64,
        ).reshape(len(rows), len(said["numeric"]))
        absent = np.isnan(plain)
        away = (plain - np.array(said["mean"])) / np.array(said["std"])
        standard = np.where(absent, 0.0, np.clip(away, -FAR, FAR))
        indicators = absent[:, np.array(said["lacking"], dtype=bool)]
        numbers = np.concatenate([standard, indicators], axis=1).astype(np.float32)
        ids = [
            [
                _id(known, row.get(name))
                for name, known in zip(said["categorical"], self.words, strict=True)
            ]
            for row in rows
        ]
        categories = np.array(ids, dtype=np.int64).reshape(len(rows), len(self.words))
        return {"numbers": numbers, "categories": categories}


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _id(known: dict[str, int], value: Any) -> int:
    if value is None or value == "":
        return MISSING
    return known.get(str(value), UNKNOWN)


def read(argument: str) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(argument)
    return row
