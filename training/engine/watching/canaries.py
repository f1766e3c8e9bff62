"""Canaries: rows of the reference that a hosted teacher is asked about daily, and whether it still
says of them what it said at first.

    config["canaries"] = [{"at": seconds since 1970, "rows", "same"}, ...]    oldest first
    config["said_of_reference"] = {"answers": {id: label}}                    of its first asking

The first check is made at once, by asking a second time: how often a service says the same twice.
A window takes the newest check that was made before it ended, so that `teacher_drift` tells of each
window what was known of the teacher by then, and stays until a later check says otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from training.engine.detectors.tallies import Tally
from training.engine.detectors.teacher_drift import TeacherDrift
from training.engine.detectors.whose_fault import Faults
from training.engine.watching import written
from training.engine.watching.baseline import Baseline
from training.engine.watching.windows import Overlap

JSON = dict[str, Any]
SIGNAL = "teacher_drift"
SUSPECT = 0.01  # p of a check below which it is not added to what is usual


def scores(checks: Sequence[Mapping[str, Any]], ended: float) -> list[JSON]:
    """Of a window that ended then, as `scores` of windows.py have them; nothing without a check
    besides the first."""
    known = [one for one in checks if one["at"] <= ended and one["rows"]]
    if len(known) < 2:
        return []
    asked = TeacherDrift()
    usual = Tally()
    for one in known[:-1]:
        tally = Tally.counted(int(one["rows"]), int(one["same"]))
        p = asked.score(usual, tally).p if usual.rows else None
        if p is None or p > SUSPECT:
            usual = usual.merge(tally)
    live = Tally.counted(int(known[-1]["rows"]), int(known[-1]["same"]))
    said = asked.score(usual, live)
    return [
        {
            "detector": asked.key,
            "value": said.value,
            "limit": said.limit,
            "p": said.p,
            "corrected": said.p,
            "effect": said.effect,
            "said": said.said,
            "facts": {**said.facts, "at": known[-1]["at"]},
            "rows": live.rows,
            "reference_rows": usual.rows,
        }
    ]


def told_of(baseline: Baseline, rows: pa.Table, answers: Mapping[str, str]) -> Baseline:
    """A baseline that knows how often student and teacher agreed on the reference, of `rows` that
    are shown of it, from what a hosted teacher answered of some by their id."""
    if not answers or "prediction" not in rows.column_names:
        return baseline
    if baseline.task == written.TASK:
        return _told_of_texts(baseline, rows, answers)
    ids = rows["id"].to_pylist()
    said = rows["prediction"].to_pylist()
    labels = rows["label"].to_pylist() if "label" in rows.column_names else [None] * len(ids)
    agrees, right, teachers = ([], [], [])  # type: tuple[list[float], list[float], list[float]]
    for identity, one, label in zip(ids, said, labels, strict=True):
        teacher = answers.get(identity)
        if teacher is None or one is None:
            continue
        agrees.append(float(one == teacher))
        right.append(np.nan if label is None else float(one == label))
        teachers.append(np.nan if label is None else float(teacher == label))
    if not agrees:
        return baseline
    sums = baseline.sums
    tallies = {**sums.tallies, "agreement": Tally.of(agrees)}
    return replace(baseline, sums=replace(sums, tallies=tallies, faults=Faults.of(right, teachers)))


def _told_of_texts(baseline: Baseline, rows: pa.Table, answers: Mapping[str, str]) -> Baseline:
    pairs = [
        (one, answers[identity])
        for identity, one in zip(
            rows["id"].to_pylist(), rows["prediction"].to_pylist(), strict=True
        )
        if one is not None and identity in answers
    ]
    if not pairs:
        return baseline
    same = [float(written.plain(one) == written.plain(two)) for one, two in pairs]
    alike = Overlap.of([written.alike(one, two) for one, two in pairs])
    sums = baseline.sums
    tallies = {**sums.tallies, "agreement": Tally.of(same)}
    overlaps = {**sums.overlaps, "agreement": alike}
    return replace(baseline, sums=replace(sums, tallies=tallies, overlaps=overlaps))
