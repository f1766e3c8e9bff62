"""Labels that are probably wrong, by confident learning. It is a suspicion: a quick model that did
not see a row finds another label far more probable."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from distillhub.lib.later import Later, np
from projects.ingest import confident, thumbnails
from projects.ingest.checks import check, registry
from projects.ingest.checks.check import Check, Found
from projects.ingest.formats import SINGLE, TOKENS_TASK, UNLABELLED, Plan
from projects.ingest.issues import INFO

soundfile = Later("soundfile")

MOST = {"text": 20_000, "image": 20_000, "audio": 2_000}  # rows that are looked at
MOST_CELLS = 2_000_000  # rows by classes
MOST_CLASSES = 200
FEWEST = 6  # rows of a label, so that something is learned of it
FEWEST_ROWS = 60
READ = 2000  # characters of a text
MOST_READ = 6_000_000  # characters of all texts
SECONDS = 60  # for reading pictures or sounds
BETTER = 0.4  # of the way from always saying the commonest label to being always right
BANDS, FRAMES = 20, 12  # of a sound's spectrogram
WINDOW = 512  # samples


@registry.register
class LabelErrors(Check):
    key = "label_errors"
    kinds: ClassVar[Mapping[str, tuple[str, str]]] = {
        "suspected_label": (
            INFO,
            "Rows for which a quick model, which did not learn from them, finds another label far "
            "more probable. It is a suspicion, and often the model errs: look at them before you "
            "change anything.",
        )
    }

    @classmethod
    def suits(cls, plan: Plan, columns: list[dict[str, str]]) -> bool:
        has_one = plan.problem == SINGLE and plan.task not in UNLABELLED | {TOKENS_TASK}
        return has_one and check.input_of(columns) in MOST

    def finish(self, found: Found) -> None:
        rows, classes = found.labels.classes
        names = found.labels.names
        many = np.bincount(classes, minlength=len(names))
        enough = np.flatnonzero(many >= FEWEST)
        kept = np.isin(classes, enough)
        rows, classes = rows[kept], classes[kept]
        if not 2 <= len(enough) <= MOST_CLASSES or len(rows) < FEWEST_ROWS:
            return
        which = check.input_of(self.columns)
        most = min(MOST[which], MOST_CELLS // len(enough))
        total = len(rows)
        chosen, features = _features(found, rows, which, most)
        if len(chosen) < FEWEST_ROWS:
            return
        given = np.searchsorted(enough, classes[np.searchsorted(rows, chosen)])
        together = (found.keys if found.groups is None else found.groups)[chosen]
        told = confident.out_of_fold(features, given, together, found.beat)
        right = float((told.argmax(axis=1) == given).mean())
        commonest = float(np.bincount(given).max() / len(given))
        usable = right - commonest >= BETTER * (1 - commonest)
        found.told[self.key] = {
            "sample": len(chosen),
            "of": total,
            "accuracy": round(right, 4),
            "usable": usable,
            "model": _MODELS[which],
        }
        if usable:
            places, better = confident.suspected(told, given)
            found.tally.many("suspected_label", chosen[places], better=enough[better])
            found.tally.remark("suspected_label", _said(found.told[self.key]))


def _said(told: Mapping[str, Any]) -> str:
    looked = f"{told['sample']:,} of {told['of']:,} rows looked at"
    return f"{told['model']}, right for {told['accuracy']:.0%}; {looked}"


_MODELS = {
    "text": "logistic regression on words",
    "image": "logistic regression on 16 by 16 grey pixels",
    "audio": "logistic regression on a spectrogram",
}


def _features(found: Found, rows: check.Rows, which: str, most: int) -> tuple[check.Rows, Any]:
    """(rows, [rows, features]) of a sample; of fewer where reading them takes too long."""
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    if which == "text":
        rows, texts = found.sample(rows, "text", most)
        texts = [text[:READ] for text in texts]
        held = int(len(texts) * min(1.0, MOST_READ / max(1, sum(map(len, texts)))))
        if held < len(texts):  # of long texts fewer: their words are what memory holds
            kept = np.sort(np.random.default_rng(0).choice(len(texts), held, replace=False))
            rows, texts = rows[kept], [texts[place] for place in kept]
        return rows, confident.of_texts(texts)
    seen = thumbnails.small if which == "image" else spectrogram
    begun = time.monotonic()
    values = []
    for encoded in found.values(rows, which):
        values.append(seen(encoded).ravel())
        if time.monotonic() - begun > SECONDS:
            break
    return rows[: len(values)], confident.of_numbers(np.array(values))


def spectrogram(encoded: bytes) -> check.Rows:
    """`[FRAMES, BANDS]`: how loud a sound is, in decibels, in each part of its time and in bands
    that are wider the higher they are."""
    samples, _ = soundfile.read(io.BytesIO(encoded), dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    mono = np.pad(mono, (0, max(0, WINDOW * 2 - len(mono))))
    starts = np.linspace(0, len(mono) - WINDOW, FRAMES * 4).astype(np.int64)
    frames = mono[starts[:, None] + np.arange(WINDOW)] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    edges = np.unique(np.geomspace(1, WINDOW // 2, BANDS + 1).round().astype(np.int64))
    bands = np.add.reduceat(power[:, : WINDOW // 2 + 1], edges[:-1], axis=1)
    loud: check.Rows = 10 * np.log10(bands + 1e-8)
    parts: check.Rows = loud.reshape(FRAMES, 4, -1).mean(axis=1)
    return parts
