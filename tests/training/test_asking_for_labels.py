"""Services asked for labels, their probabilities and JSON; and Amazon Bedrock, in its own way."""

import math
from typing import Any

import pytest

from projects.models import Project
from tests.training.api_server import Service
from tests.training.test_asking_apis import asked, bedrock, in_a_hurry, keyed, service, teacher
from training.answering import label_probabilities
from training.answering.questions import Choice, Structured, Text
from training.answering.replies import Step

pytestmark = pytest.mark.django_db
__all__ = ["in_a_hurry", "service"]


def step(token: str, **top: float) -> dict[str, Any]:
    """One token of an answer and what else was likely there, as shares."""
    told = {token: top.pop("own"), **top}
    likely = [
        {"token": name.replace("_", " "), "logprob": math.log(share)}
        for name, share in told.items()
    ]
    return likely[0] | {"top_logprobs": likely}


def test_labels_are_held_to_a_schema_where_the_service_takes_one(
    project: Project, service: Service
) -> None:
    service.answer = lambda body: '{"label": "cash"}'
    version = teacher(project, service, offers={"structured": True})
    found, _, _ = asked(version, ["I paid"], Choice(labels=("card", "cash")))

    assert (found[0].label, found[0].probabilities, found[0].method) == (
        "cash", None, "not_offered",
    )  # fmt: skip
    schema = service.seen[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["label"]["enum"] == ["card", "cash"]


def test_probabilities_of_tokens_become_those_of_labels(project: Project, service: Service) -> None:
    content = [step("card", own=0.6, Cash=0.3, Well=0.1)]
    service.answer = lambda body: {"text": "card", "logprobs": {"content": content}}
    version = teacher(project, service, offers={"logprobs": True, "structured": True})
    found, _, _ = asked(version, ["I paid"], Choice(labels=("card", "cash")))

    assert service.seen[0]["top_logprobs"] == 20
    assert "response_format" not in service.seen[0]
    assert found[0].probabilities == pytest.approx((2 / 3, 1 / 3))
    assert found[0].covered == pytest.approx(0.9)


def test_labels_are_scored_where_their_tokens_do_not_tell_them_apart(
    project: Project, service: Service
) -> None:
    """Of a completions service that reads continuations, as vLLM does."""

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if not body.get("echo"):
            tops = [{"card ": math.log(0.5), "pay": math.log(0.5)}]
            told = {"tokens": ["pay"], "token_logprobs": [math.log(0.5)], "top_logprobs": tops}
            return {"text": "pay cash", "logprobs": told}
        prompt = body["prompt"]
        label = prompt.strip().split("\n")[-1]
        begin = len(prompt) - len(label) - 1
        share = {"card lost": 0.2, "card late": 0.6, "pay cash": 0.2}[label]
        told = {
            "tokens": [prompt[:begin], label, "\n", "x"],
            "token_logprobs": [None, math.log(share), 0.0, -5.0],
            "text_offset": [0, begin, len(prompt) - 1, len(prompt)],
        }
        return {"text": f"{prompt}x", "logprobs": told}

    service.answer = answer
    offers = {"logprobs": True, "echo": True}
    version = teacher(project, service, api="openai-completions", offers=offers)
    labels = ("card lost", "card late", "pay cash")
    found, report, _ = asked(version, ["I paid"], Choice(labels=labels))

    assert (found[0].label, found[0].method) == ("card late", "scored")
    assert found[0].probabilities == pytest.approx((0.2, 0.6, 0.2))
    assert report.requests == 4

    without = teacher(project, service, api="openai-completions", offers={"logprobs": True})
    found, _, _ = asked(without, ["I paid"], Choice(labels=labels))
    assert (found[0].label, found[0].probabilities, found[0].method) == ("pay cash", None, "shared")


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("card", "card"),
        (" Card.\n", "card"),
        ('"card arrival"', "card arrival"),
        ('```json\n{"label": "cash"}\n```', "cash"),
        ("The label is: card arrival", "card arrival"),
        ("It is card, I think. Not cash.", None),
        ("cardigan", None),
        ("no idea", None),
    ],
)
def test_a_label_is_read_from_words_or_the_answer_is_malformed(
    project: Project, service: Service, said: str, label: str | None
) -> None:
    service.answer = lambda body: said
    labels = ("card", "card arrival", "cash")
    found, _, _ = asked(teacher(project, service), ["I paid"], Choice(labels=labels))

    assert found[0].label == label
    assert found[0].reason == ("" if label else "malformed")
    if label is None:
        assert found[0].text == said


SHAPE: dict[str, dict[str, Any]] = {
    "why": {"type": "string"},
    "label": {"type": "string", "enum": ["card", "cash"]},
    "tags": {"type": "array", "items": {"type": "string"}},
    "stars": {"type": "integer"},
}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('Sure: {"why": "so", "label": "card", "tags": ["a"], "stars": 3, "more": 1}', ""),
        ('{"why": "so", "label": "gold", "tags": [], "stars": 3}', "malformed"),
        ('{"why": "so", "label": "card", "tags": [1], "stars": 3}', "malformed"),
        ('{"why": "so", "label": "card", "tags": [], "stars": true}', "malformed"),
        ('{"why": "so"', "malformed"),
        ("so", "malformed"),
        ("[" * 100_000, "malformed"),
    ],
)
def test_json_is_asked_for_and_its_shape_is_checked(
    project: Project, service: Service, said: str, reason: str
) -> None:
    service.answer = lambda body: said
    found, _, _ = asked(teacher(project, service), ["x"], Structured(properties=SHAPE))

    assert found[0].reason == reason
    if not reason:
        assert found[0].value == {"why": "so", "label": "card", "tags": ["a"], "stars": 3}


@pytest.mark.parametrize(
    ("tokens", "probabilities", "reason"),
    [
        # Told apart at the second token; the other label at the first.
        (
            [[("card", 0.8), ("cash", 0.2)], [(" lost", 0.75), (" late", 0.25)]],
            (0.6, 0.2, 0.2),
            "",
        ),
        # A label that another begins with: its end decides.
        ([[("cash", 0.9), ("card", 0.1)], [("\n", 1.0)]], None, "shared"),
        ([[(" Cash", 0.97), ("card lost", 0.03)]], (0.03, 0.0, 0.97), ""),
        ([[("Well", 0.9), ("cash", 0.1)]], None, "elsewhere"),
        ([[('"', 1.0)], [("cash", 0.99), ("card late", 0.01)]], (0.0, 0.01, 0.99), ""),
        ([], None, "not_offered"),
    ],
)
def test_the_first_token_that_tells_labels_apart_decides(
    tokens: list[list[tuple[str, float]]],
    probabilities: tuple[float, ...] | None,
    reason: str,
) -> None:
    steps = [
        Step(likely[0][0], math.log(likely[0][1]), tuple((t, math.log(p)) for t, p in likely))
        for likely in tokens
    ]
    told = label_probabilities.walked(["card lost", "card late", "cash"], steps)

    assert told.reason == reason
    if probabilities is None:
        assert told.probabilities is None
    else:
        assert told.probabilities == pytest.approx(probabilities)


# Bedrock ----------------------------------------------------------------------------------------


def test_bedrock_is_asked_by_converse_and_signed(
    project: Project, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real boto3, whose requests leave through our client. What the machine's own account would
    sign with is not used."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "of-the-machine")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOFTHEMACHINE")
    version = keyed(bedrock(project, service), "AKIA0123456789:wJalrXUtnFEMI/K7MDENG")
    found, report, stopped = asked(version, ["one", "two"], Text(temperature=0.5, stop=("x",)))

    assert stopped is None
    assert {one.text for one in found.values()} == {"ONE", "TWO"}
    assert report.input_tokens > 0
    body, headers = service.seen[0], service.headers[0]
    assert body["inferenceConfig"] == {
        "maxTokens": 1024, "temperature": 0.5, "stopSequences": ["x"],
    }  # fmt: skip
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIA0123456789/")
    assert "of-the-machine" not in str(headers)
    assert "AKIAOFTHEMACHINE" not in str(headers)


def test_bedrock_takes_its_own_keys_and_holds_answers_to_a_schema(
    project: Project, service: Service
) -> None:
    service.key = "bedrock-api-key-1234"
    service.answer = lambda body: '{"label": "cash"}'
    version = keyed(bedrock(project, service, offers={"structured": True}), "bedrock-api-key-1234")
    found, _, _ = asked(version, ["one"], Choice(labels=("card", "cash")))

    assert found[0].label == "cash"
    assert service.headers[0]["authorization"] == "Bearer bedrock-api-key-1234"
    assert service.seen[0]["outputConfig"]["textFormat"]["type"] == "json_schema"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("401", "not_allowed"), ("404", "no_model"), ("quota", "quota"), ("redirect", "redirected")],
)
def test_bedrocks_faults_have_the_same_reasons(
    project: Project, service: Service, fault: str, reason: str
) -> None:
    service.fault = lambda number, body: fault
    _, _, stopped = asked(keyed(bedrock(project, service), "bedrock-api-key-1234"), ["one"])
    assert stopped.reason == reason


def test_bedrock_is_asked_again_after_what_passes(project: Project, service: Service) -> None:
    faults = ["429", "500", "broken", "cut", None]
    service.fault = lambda number, body: faults[number]
    version = keyed(bedrock(project, service), "bedrock-api-key-1234")
    found, report, stopped = asked(version, ["one"])

    assert (stopped, found[0].text, report.requests) == (None, "ONE", 5)
