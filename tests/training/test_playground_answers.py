"""How answers are laid out side by side, without asking anybody."""

from typing import Any

import pytest
from django.template.loader import render_to_string

from projects.models import ModelVersion, Project, RegisteredModel
from training.services.playground import Player, Said
from training.views import playground_answers

JSON = dict[str, Any]


def player(name: str, role: str = "student") -> Player:
    return Player(role, ModelVersion(model=RegisteredModel(name=name), number=1))


def said(
    name: str, *answers: JSON, problem: str = "single_label", median: float = 1.0, **more: Any
) -> Said:
    latency = {"median_ms": median, "calls": 7, "of": "input"}
    return Said(player(name), list(answers), problem, more.get("labels", []), latency)


def page(shown: JSON) -> str:
    project = Project(slug="intents")
    return render_to_string(
        "training/_playground_answers.html",
        {**shown, "project": project, "may_edit": True, "query": ""},
    )


def words(text: str, *labels: str) -> JSON:
    found: list[JSON] = []
    at = 0
    for word, label in zip(text.split(), labels, strict=True):
        at = text.index(word, at)
        found.append({"text": word, "start": at, "end": at + len(word), "label": label,
                      "probability": 0.9})  # fmt: skip
    spans = [
        {"label": one["label"][2:], "text": one["text"], "start": one["start"],
         "end": one["end"], "probability": 0.9}
        for one in found if one["label"] != "O"
    ]  # fmt: skip
    return {"label": list(labels), "probabilities": {}, "words": found, "spans": spans}


def test_spans_stand_in_the_text_as_it_was_typed() -> None:
    text = "Ada  met\nAlan <b>"
    shown = playground_answers.shown(
        [
            said("big", words(text, "B-PER", "O", "B-PER", "O")),
            said("tiny", words(text, "B-PER", "O", "O", "O")),
        ],
        "token-classification",
        text,
    )
    pieces = shown["panels"][0]["pieces"]
    assert "".join(one["text"] for one in pieces) == text
    assert [one["text"] for one in pieces if one.get("kind")] == ["Ada", "Alan"]
    assert [one["differs"] for one in shown["panels"]] == [False, True]
    assert shown["right"] == {"kind": "tags", "value": "B-PER O B-PER O", "labels": []}
    html = page(shown)
    assert "&lt;b&gt;" in html
    assert html.count("entity-kind") == 3


def test_two_texts_are_as_alike_as_their_vectors() -> None:
    def vector(*numbers: float) -> JSON:
        return {"label": None, "probabilities": {}, "vector": list(numbers)}

    shown = playground_answers.shown(
        [said("big", vector(3.0, 4.0), vector(4.0, -3.0)), said("tiny", vector(1.0, 0.0))],
        "feature-extraction",
        "a",
    )
    first, second = shown["panels"]
    assert first["cosine"] == pytest.approx(0.0)
    assert "cosine" not in second
    assert shown["right"] is None
    assert shown["agreement"] is None
    assert "alike, by the cosine" in page(shown)


def test_numbers_are_told_with_how_far_they_lie_apart() -> None:
    shown = playground_answers.shown(
        [
            said("big", {"label": 10.5, "probabilities": {}}, problem="regression"),
            said("tiny", {"label": 9.25, "probabilities": {}}, problem="regression", median=0.25),
        ],
        "tabular-classification",
        "",
    )
    assert shown["panels"][1]["apart"] == "-1.25"
    assert shown["panels"][1]["times"] == 4.0
    html = page(shown)
    assert "-1.25 from big@1" in html
    assert 'type="number"' in html
    assert "4.0× as fast as big@1" in html


def test_several_labels_are_ticked() -> None:
    labels = ["late", "rude", "wet"]
    sure = {"late": 0.9, "wet": 0.6, "rude": 0.1}
    shown = playground_answers.shown(
        [said("big", {"label": ["late", "wet"], "probabilities": sure}, problem="multi_label",
              labels=labels)],
        "text-classification",
        "x",
    )  # fmt: skip
    html = page(shown)
    assert html.count(" checked") == 2
    assert "late, wet" in html
    none = playground_answers.shown(
        [said("big", {"label": [], "probabilities": sure}, problem="multi_label", labels=labels)],
        "text-classification",
        "x",
    )
    assert "no label" in page(none)


def test_one_that_cannot_be_asked_says_so_beside_the_others() -> None:
    good = said("tiny", {"label": "yes", "probabilities": {"yes": 0.7, "no": 0.3}})
    shown = playground_answers.shown(
        [
            Said(player("api", "teacher"), fault="It may cost."),
            good,
            said("odd", {"error": "Torn."}),
        ],
        "text-classification",
        "x",
    )
    assert [one["fault"] for one in shown["panels"]] == ["It may cost.", "", "Torn."]
    assert shown["panels"][1]["is_first"] is True
    html = page(shown)
    assert "It may cost." in html
    assert "Torn." in html
