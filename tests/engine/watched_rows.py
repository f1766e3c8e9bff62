"""Rows as a monitor's parts hold them, made by chance."""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from training.engine.watching.baseline import Baseline
from training.engine.watching.parts import TIME

LABELS = ["a", "b", "c"]
BEGAN = 1_750_000_000  # seconds


def rows(many: int, *, seed: int = 0, shift: float = 0.0, first: int = 0, **more: Any) -> pa.Table:
    """Ids go on from `first`, one a second. The student is right in four of five, and its teacher
    agrees in nine of ten."""
    chance = np.random.default_rng(seed)
    told = chance.dirichlet([1, 1, 1], many).astype(np.float32)
    said = told.argmax(axis=1)
    other = (said + 1) % 3
    label = np.where(chance.random(many) < 0.8, said, other)
    teacher = np.where(chance.random(many) < 0.9, said, other)
    ages = chance.normal(40 + 10 * shift, 10, many)
    places = chance.choice(["north", "south", "west"], many)
    cells = [
        json.dumps({"age": age, "place": place})
        for age, place in zip(ages.tolist(), places.tolist(), strict=True)
    ]
    vectors = chance.normal(shift, 1, (many, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    times = (np.arange(first, first + many) + BEGAN) * 1_000_000
    columns: dict[str, Any] = {
        "id": [f"row-{one}" for one in range(first, first + many)],
        "time": pa.array(times).cast(TIME),
        "window": (np.arange(first, first + many) // 500).astype(np.int64),
        "text": pa.nulls(many, pa.string()),  # as parts of tables have it
        "cells": cells,
        "prediction": [LABELS[one] for one in said],
        "probabilities": pa.array(list(told), pa.list_(pa.float32())),
        "label": [LABELS[one] for one in label],
        "teacher_prediction": [LABELS[one] for one in teacher],
        "teacher_share": pa.array(np.full(many, 0.5, dtype=np.float32)),
        "vector": pa.array(list(vectors.astype(np.float16)), pa.list_(pa.float16())),
        "latency_ms": chance.lognormal(3, 0.5, many).astype(np.float32),
        "version": ["small@1"] * many,
        "tags": [json.dumps({"country": "de" if one % 2 else "fr"}) for one in range(many)],
    }
    return pa.table(columns | more)


def baseline(table: pa.Table | None = None, **more: Any) -> Baseline:
    asked: dict[str, Any] = {
        "task": "tabular-classification",
        "labels": LABELS,
        "reads": "columns",
        "slices": [{"name": "old", "query": "age:from:50"}],
    }
    return Baseline.fit(rows(3000, seed=99) if table is None else table, **asked | more)
