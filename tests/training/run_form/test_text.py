"""The form as a text says the same, and its faults are named with their lines."""

import json
from typing import Any

import pytest
from django.test import Client

from projects.models import DatasetVersion, ModelVersion
from tests.training.run_form.filled import after, inputs, url
from training import catalog
from training.forms import run_yaml
from training.models import Run


def written(client: Client, **changes: str) -> dict[str, Any]:
    """The form as text, after these changes of the guided one."""
    return after(client, inputs(client.get(url())) | changes, action="written")


@pytest.mark.parametrize("key", ["soft_targets", "tinybert", "born_again", "fitnets"])
def test_the_form_and_its_text_say_the_same(
    alices: Client, data: DatasetVersion, bert: ModelVersion, berts_teacher: ModelVersion, key: str
) -> None:
    guided = after(alices, inputs(alices.get(url())), preset=key)
    text = after(alices, guided, action="written")
    name = text["yaml"].splitlines()[0]
    assert (text["mode"], name) == ("yaml", f"name: {data_name(guided, key)}")
    back = after(alices, text, action="guided")
    again = after(alices, back, action="written")
    assert again["yaml"] == text["yaml"]
    alices.post(url(), guided | {"action": "launch"})
    alices.post(url(), text | {"action": "launch"})
    first, second = Run.objects.filter(control_of=None).order_by("number")
    assert first.config == second.config


def data_name(sent: dict[str, Any], preset: str) -> str:
    """Who learns from whom, and how: runs of two presets have two names."""
    label = next(one["label"] for one in catalog.presets() if one["key"] == preset)
    how = "" if preset == "fine_tune" else f", {label}"
    return f"tiny from big{how}" if sent.get("teachers") else f"tiny on mails{how}"


def test_faults_of_a_text_are_named_with_their_lines(
    alices: Client, data: DatasetVersion, bert: ModelVersion, berts_teacher: ModelVersion
) -> None:
    sent = written(alices)
    text = sent["yaml"].replace("temperature: 2.0", "temperature: -2").replace("seed: 0", "seed: x")
    page = alices.post(url(), sent | {"yaml": text + "speed: 3\n", "action": "launch"})
    assert page.status_code == 200
    lines = text.splitlines()
    told = {one.at: one.line for one in page.context["draft"].told}
    assert lines[told.pop("losses.0.temperature") - 1].strip() == "temperature: -2"
    assert lines[told.pop("training.seed") - 1].strip() == "seed: x"
    assert told == {"speed": len(lines) + 1}
    kept = inputs(alices.post(url(), sent | {"yaml": text, "action": "guided"}))
    assert kept["yaml"] == text  # nothing is lost on the way back
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("a: [1", "Expected ',' or ']'", 1),
        ("name: x\nb: &c 1\nd: *c", "Anchors", 2),
        ("x: !!python/object/apply:os.system [ls]", "Tags", 1),
        ("name: a\nname: b", "stands here twice", 2),
        ("- 1", "list of names", None),
        ("", "list of names", None),
        ("[" * 40, "nested", 1),
        ("a: " + "9" * 5000, "digits", None),
        ("x" * 60_000, "longer", None),
        ("\a", "It cannot be understood", None),
    ],
)
def test_a_text_that_cannot_be_read_launches_nothing(
    alices: Client, data: DatasetVersion, student: ModelVersion, text: str, said: str,
    line: int | None,
) -> None:  # fmt: skip
    page = alices.post(url(), written(alices) | {"yaml": text, "action": "launch"})
    assert page.status_code == 200
    assert "the text cannot be read" in page.content.decode()
    assert 'class="sentence"' not in page.content.decode()  # of another run
    [told] = page.context["draft"].told
    assert said in told.sentence
    if line is not None:
        assert told.line == line
    assert not Run.objects.exists()


def test_a_text_with_a_nul_is_refused_like_every_form_that_holds_one(
    alices: Client, data: DatasetVersion, student: ModelVersion
) -> None:
    page = alices.post(url(), written(alices) | {"yaml": "\0", "action": "launch"})
    assert page.status_code == 400
    assert not Run.objects.exists()


def test_plain_values_of_a_text_mean_what_they_look_like() -> None:
    text = "a: 1e-4\nb: 1:3\nc: no\nd: 2020-01-01\ne: .5\nf: null\ng: true\nh: 007\ni: 1_000"
    values = {
        "a": 0.0001, "b": "1:3", "c": "no", "d": "2020-01-01", "e": 0.5, "f": None, "g": True,
        "h": 7, "i": "1_000",
    }  # fmt: skip
    assert run_yaml.read(text) == values
    assert run_yaml.read(run_yaml.write(values)) == values
    words = {"x": ["1e5", "true", "~", "yes", "1:30", "", "é: ü", "# no"], "y": {}, "z": []}
    assert run_yaml.read(run_yaml.write(words)) == words


@pytest.mark.parametrize(
    "configuration",
    [
        {"teachers": 3, "losses": "all", "stages": {}, "training": [], "scheme": [1]},
        {"losses": [1, None, {"kind": 3}, {"kind": "dkd", "weight": {}}], "scheme": {"kind": {}}},
        {"scheme": "staged", "stages": [3, {"losses": 4, "epochs": [], "name": {}}]},
        {"name": 3, "dataset": {}, "student": [], "exports": {"a": 1}, "resources": 7},
        {"scheme": {"kind": "magic"}, "control": "yes", "teacher_outputs": 4, "top_k": []},
    ],
)
def test_any_text_is_answered_with_its_faults(
    alices: Client, data: DatasetVersion, student: ModelVersion, configuration: dict[str, Any]
) -> None:
    page = alices.post(
        url(), written(alices) | {"yaml": json.dumps(configuration), "action": "check"}
    )
    assert page.status_code == 200
    assert page.context["draft"].faults


def test_what_people_write_is_text(
    alices: Client, data: DatasetVersion, student: ModelVersion
) -> None:
    evil = "</textarea></script><script>alert(1)</script>"
    page = alices.post(url(), written(alices) | {"yaml": f"name: '{evil}'", "action": "check"})
    assert evil not in page.content.decode()
    assert inputs(page)["yaml"] == f"name: '{evil}'"
