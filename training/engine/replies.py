"""What a network's numbers say of an input, as JSON for a program or a page.

    single_label   {"label": "refund", "probabilities": {"refund": 0.91, "pay": 0.07, ...}}
    multi_label    {"label": ["urgent", "refund"], "probabilities": {"urgent": 0.8, ...}}
    regression     {"label": 3.25, "probabilities": {}}
    embedding      {"label": null, "probabilities": {}, "vector": [0.1, ...]}
    of words       {"label": ["O", "B-PER"], "probabilities": {}, "words": [{"text", "start", "end",
                   "label", "probability"}], "spans": [{"label", "text", "start", "end",
                   "probability"}]}

Probabilities come the likeliest first, `most` of them; places are characters of the text.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine import evaluate, spans
from training.engine.fresh_inputs import Worded
from training.engine.networks import Network

JSON = dict[str, Any]
Logits = NDArray[np.float32]


def of(network: Network, logits: Logits, inputs: Sequence[Any], most: int) -> list[JSON]:
    """Of each input its reply; `logits` are `[units, classes]`."""
    if inputs and isinstance(inputs[0], Worded):
        return _of_words(network.labels, logits, inputs)
    if network.problem == "embedding":
        return [_nothing() | {"vector": [_brief(one) for one in row]} for row in logits.tolist()]
    if network.problem == "regression":
        return [{"label": _brief(row[0]), "probabilities": {}} for row in logits.tolist()]
    if network.problem == "multi_label":
        sure = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
        return [
            {
                "label": [network.labels[place] for place in np.flatnonzero(row > 0.5)],
                "probabilities": _listed(network.labels, row, most),
            }
            for row in sure
        ]
    sure = np.exp(evaluate.log_probabilities(logits))
    return [
        {
            "label": network.labels[int(row.argmax())],
            "probabilities": _listed(network.labels, row, most),
        }
        for row in sure
    ]


def _nothing() -> JSON:
    return {"label": None, "probabilities": {}}


def _listed(labels: tuple[str, ...], row: NDArray[np.float64], most: int) -> dict[str, float]:
    order = np.argsort(-row, kind="stable")[:most]
    return {labels[place]: _brief(row[place]) for place in order.tolist()}


def _of_words(labels: tuple[str, ...], logits: Logits, inputs: Sequence[Worded]) -> list[JSON]:
    logs = evaluate.log_probabilities(logits)
    said, sure = logs.argmax(axis=1), np.exp(logs.max(axis=1))
    reading, start, found = spans.Reading.of(labels), 0, []
    for one in inputs:
        here = slice(start, start + len(one.words))
        start = here.stop
        words = [
            {
                "text": text,
                "start": place[0],
                "end": place[1],
                "label": labels[label],
                "probability": _brief(probability),
            }
            for text, place, label, probability in zip(
                one.words, one.places, said[here].tolist(), sure[here].tolist(), strict=True
            )
        ]
        told = reading.spans(said[here], np.array([0, len(words)], dtype=np.int64))
        found.append(
            {
                "label": [word["label"] for word in words],
                "probabilities": {},
                "words": words,
                "spans": [
                    _span(reading.types[kind], words[begin : end + 1])
                    for begin, end, kind in zip(
                        told.begins.tolist(), told.ends.tolist(), told.types.tolist(), strict=True
                    )
                ],
            }
        )
    return found


def _span(kind: str, words: Sequence[JSON]) -> JSON:
    return {
        "label": kind,
        "text": " ".join(word["text"] for word in words),
        "start": words[0]["start"],
        "end": words[-1]["end"],
        "probability": min(word["probability"] for word in words),
    }


def _brief(value: float) -> float:
    """Six digits, as float32 has."""
    return float(f"{value:.6g}")
