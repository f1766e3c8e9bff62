"""What models answered to one input, laid out side by side: bars, spans, tokens, differences."""

import json
import math
from collections.abc import Sequence
from typing import Any

from distillhub.templatetags import ui
from training.services import serving
from training.services.playground import Said

JSON = dict[str, Any]
BARS = 8  # labels whose probabilities are drawn
OF_EACH = 5  # of which each model gives its likeliest
TONES = 6  # colours of spans
SELECTABLE = 500  # labels that a list may have; of more they are typed
SHADES = (0.9, 0.6, 0.3, 0.1)  # probabilities of tokens, from the surest down
NUMBERS = 8  # of a vector that are shown


def shown(said: Sequence[Said], task: str, text: str) -> JSON:
    """{"panels", "agreement", "right": how a person may say what is right, "said": to be kept}."""
    answered = [one for one in said if one.answers and "error" not in one.answers[0]]
    first = answered[0] if answered else None
    names = _names(answered) if first and first.problem in ("single_label", "multi_label") else []
    return {
        "panels": [_panel(one, first, names, text) for one in said],
        "agreement": _agreement(answered),
        "right": _right(answered, task),
        "said": json.dumps(
            [
                {
                    "model": one.player.reference,
                    "label": one.answers[0].get("label"),
                    **_sure(one.answers[0]),
                }
                for one in answered
            ]
        ),
    }


def _panel(one: Said, first: Said | None, names: list[str], text: str) -> JSON:
    panel: JSON = {"player": one.player, "fault": one.fault, "latency": one.latency}
    if not one.answers or first is None:
        return panel
    answer, other = one.answers[0], first.answers[0]
    if "error" in answer:
        return panel | {"fault": answer["error"]}
    panel |= {"answer": answer, "is_first": one is first}
    if one.latency and first.latency and one is not first:
        panel["times"] = first.latency["median_ms"] / max(one.latency["median_ms"], 1e-6)
        panel["than"] = first.player.reference
    if "tokens" in answer:
        return panel | _written(answer) | {"differs": answer["text"] != other.get("text")}
    if "text" in answer:  # of a service, which tells no tokens
        return panel | {"plain": answer["text"], "differs": answer["text"] != other.get("text")}
    if "words" in answer:
        return panel | _spans(answer, text) | {"differs": answer["label"] != other["label"]}
    if "vector" in answer:
        return panel | _vectors(one.answers)
    panel["differs"] = answer["label"] != other["label"]
    if one.problem == "regression":
        apart = None if one is first else f"{answer['label'] - other['label']:+.4g}"
        return panel | {"number": answer["label"], "apart": apart}
    labels = answer["label"]
    panel["is_class"] = True
    panel["labels"] = labels if isinstance(labels, list) else [labels]
    panel["several"] = isinstance(labels, list)
    panel["sure"] = answer["probabilities"].get(labels) if isinstance(labels, str) else None
    if answer["probabilities"]:
        beside = other if one is not first and other["probabilities"] else None
        panel["bars"] = [_bar(name, answer, beside) for name in names]
        panel["rest"] = len(one.labels) - len(names)
    return panel


def _bar(name: str, answer: JSON, other: JSON | None) -> JSON:
    share = float(answer["probabilities"].get(name, 0.0))
    chosen = name == answer["label"] or name in (answer["label"] or ())
    bar: JSON = {"name": name, "share": share, "width": round(100 * share, 1), "chosen": chosen}
    if other is not None:
        bar["apart"] = share - float(other["probabilities"].get(name, 0.0))
        bar["stands_out"] = abs(bar["apart"]) >= 0.1
    return bar


def _names(said: Sequence[Said]) -> list[str]:
    """Labels that some model finds likely, the likeliest of all first: the same in every panel."""
    most: dict[str, float] = {}
    for one in said:
        for name, share in list(one.answers[0]["probabilities"].items())[:OF_EACH]:
            most[name] = max(most.get(name, 0.0), share)
    return sorted(most, key=lambda name: -most[name])[:BARS]


def _agreement(said: Sequence[Said]) -> JSON | None:
    """Whether all say the same, in words; None of one alone, and of vectors."""
    if len(said) < 2 or "vector" in said[0].answers[0]:
        return None
    told = [_spelt(one.answers[0]) for one in said]
    if len(set(told)) == 1:
        return {"agree": True, "words": told[0] if len(told[0]) < 80 else "the same"}
    if "tokens" in said[0].answers[0] or "words" in said[0].answers[0]:
        return {"agree": False, "words": ""}
    parts = [f"{one.player.words}: {spelt}" for one, spelt in zip(said, told, strict=True)]
    return {"agree": False, "words": "; ".join(parts)}


def _spelt(answer: JSON) -> str:
    label = answer["label"]
    if isinstance(label, list):
        return (" " if "words" in answer else ", ").join(label) or "no label"
    return f"{label:.4g}" if isinstance(label, float) else str(label)


def _sure(answer: JSON) -> JSON:
    label = answer.get("label")
    if isinstance(label, str) and label in answer["probabilities"]:
        return {"probability": answer["probabilities"][label]}
    return {}


def _right(said: Sequence[Said], task: str) -> JSON | None:
    """How what is right can be said: a choice, several, a number, or words."""
    if not said or task == "feature-extraction":
        return None
    first = said[0]
    answer, labels = first.answers[0], sorted({name for one in said for name in one.labels})
    if task == serving.WRITTEN:
        return {"kind": "text", "value": answer["text"]}
    if "words" in answer:
        return {"kind": "tags", "value": " ".join(answer["label"]), "labels": labels}
    if first.problem == "regression":
        return {"kind": "number", "value": f"{answer['label']:.6g}"}
    if first.problem == "multi_label":
        return {"kind": "several", "labels": labels, "value": answer["label"]}
    kind = "choice" if len(labels) <= SELECTABLE else "word"
    return {"kind": kind, "labels": labels, "value": answer["label"]}


# -- words, texts, vectors ------------------------------------------------------------------------


def _spans(answer: JSON, text: str) -> JSON:
    """The text in pieces, of which spans have a kind."""
    kinds = sorted({span["label"] for span in answer["spans"]})
    pieces: list[JSON] = []
    at = 0
    for span in answer["spans"]:
        if span["start"] > at:
            pieces.append({"text": text[at : span["start"]]})
        pieces.append(
            {
                "text": text[span["start"] : span["end"]],
                "kind": span["label"],
                "tone": kinds.index(span["label"]) % TONES,
                "share": ui.percent(span["probability"]),
            }
        )
        at = span["end"]
    return {"pieces": [*pieces, {"text": text[at:]}], "spans": answer["spans"]}


def _written(answer: JSON) -> JSON:
    tokens = [
        {
            **token,
            "visible": _visible(token["text"]),
            "alternatives": [
                {**one, "visible": _visible(one["text"])} for one in token["alternatives"]
            ],
            "shade": next(
                (at for at, least in enumerate(SHADES) if token["probability"] >= least),
                len(SHADES),
            ),
            "told": _told(token),
        }
        for token in answer["tokens"]
    ]
    logs = [math.log(max(token["probability"], 1e-12)) for token in answer["tokens"]]
    perplexity = math.exp(-sum(logs) / len(logs)) if logs else None
    return {"tokens": tokens, "perplexity": perplexity, "ended": answer["ended"]}


def _visible(text: str) -> str:
    """With what nobody sees spelt out: ends of lines, and blanks that are a token's all."""
    shown = text.replace("\n", "↵")
    return shown if shown.strip() else shown.replace(" ", "␣")


def _told(token: JSON) -> str:
    others = ", ".join(
        f"{_visible(one['text'])} {ui.percent(one['probability'])}"
        for one in token["alternatives"][:3]
    )
    return f"{_visible(token['text'])} {ui.percent(token['probability'])}" + (
        f"; else {others}" if others else ""
    )


def _vectors(answers: Sequence[JSON]) -> JSON:
    """Of one text its vector's beginning; of two how alike they are, by the cosine."""
    one = answers[0]["vector"]
    found: JSON = {"width": len(one), "begins": one[:NUMBERS]}
    if len(answers) > 1 and "vector" in answers[1]:
        two = answers[1]["vector"]
        norms = math.hypot(*one) * math.hypot(*two)
        dot = sum(a * b for a, b in zip(one, two, strict=True))
        found["cosine"] = dot / norms if norms else 0.0
        found["bar"] = round(50 + 50 * found["cosine"], 1)
    return found
