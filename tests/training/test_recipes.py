"""Recipes of other libraries on their page, through REST, and handed over to the run form."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from projects.models import Project, User
from tests import make
from tests.conftest import api_of, signed_in
from tests.training.run_form.filled import inputs
from training.services import recipes

TRANSLATE = "/api/v1/recipes/translate/"


@pytest.fixture
def alices(alice: User, project: Project) -> Client:
    return signed_in(alice)


@pytest.fixture
def cast(project: Project) -> None:
    """What a run form needs to be shown."""
    files = [{"name": "model.safetensors", "sha256": "0" * 64, "bytes": 5}]
    make.dataset_version(project, "mails")
    make.model_version(project, "tiny", architecture="bag_of_embeddings")
    make.model_version(
        project, "big", role="teacher", architecture="bag_of_embeddings", files=files,
        labels=["no", "yes"],
    )  # fmt: skip


# Through REST -----------------------------------------------------------------------------------


def test_rest_lists_them_with_their_options(alice: User) -> None:
    answer = api_of(alice).get("/api/v1/recipes/").json()
    assert (answer["next"], answer["previous"]) == (None, None)
    by_key = {one["key"]: one for one in answer["results"]}
    assert {"torchdistill", "textbrewer", "trl", "distillkit", "repdistiller"} <= set(by_key)
    alpha = {one["name"]: one for one in by_key["keras_example"]["options"]}["alpha"]
    assert (alpha["default"], alpha["minimum"], alpha["maximum"]) == (0.1, 0.0, 1.0)


def test_rest_says_settings_as_losses(alice: User) -> None:
    body = {"recipe": "huggingface_trainer", "options": {"alpha": 0.8}}
    answer = api_of(alice).post(TRANSLATE, body, format="json")
    assert answer.status_code == 200, answer.json()
    said = answer.json()
    assert said["losses"] == [
        {"kind": "soft_targets", "weight": 0.2, "temperature": 2.0},
        {"kind": "hard_labels", "weight": 0.8, "label_smoothing": 0.0},
    ]
    assert said["options"] == {"alpha": 0.8, "temperature": 2.0}
    assert said["formula"] == (
        "total = 0.2 · 2² · KL(softmax(t/2) ‖ softmax(s/2)) + 0.8 · −log softmax(s)[label]"
    )
    assert said["notes"][0] == "With alpha 0.8 the teacher has 20 % of the weight."


def test_rest_says_losses_as_settings(alice: User) -> None:
    losses = [{"kind": "soft_targets", "weight": 0.5}, {"kind": "hard_labels", "weight": 0.5}]
    body = {"recipe": "textbrewer", "losses": losses}
    said = api_of(alice).post(TRANSLATE, body, format="json").json()
    assert said["options"]["kd_loss_weight"] == 8.0
    assert said["options"]["temperature"] == 4.0
    assert said["losses"][0]["temperature"] == 4.0  # written out


def test_what_rest_answers_translates_back(alice: User) -> None:
    for recipe in recipes.listed():
        body: dict[str, Any] = {"recipe": recipe["key"], "classes": 10}
        there = api_of(alice).post(TRANSLATE, body, format="json").json()
        said = {name: there[name] for name in ("losses", "scheme")}
        back = api_of(alice).post(TRANSLATE, body | said, format="json")
        assert back.status_code == 200, (recipe["key"], back.json())
        again = body | {"options": back.json()["options"]}
        assert (
            api_of(alice).post(TRANSLATE, again, format="json").json()["losses"] == there["losses"]
        )


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, "recipe"),
        ({"recipe": "magic"}, "recipe"),
        ({"recipe": "trl", "options": []}, "options"),
        ({"recipe": "trl", "options": {"lambda": 1}}, "options.lambda"),
        ({"recipe": "trl", "options": {"seq_kd": True}}, "options.seq_kd"),
        ({"recipe": "trl", "losses": [{"kind": "jsd"}], "scheme": "magic"}, "scheme"),
        ({"recipe": "trl", "options": {"beta": 2}}, "options.beta"),
        ({"recipe": "torchdistill", "options": {"reduction": "sum"}}, "options.reduction"),
        ({"recipe": "haitongli"}, "classes"),
        ({"recipe": "haitongli", "classes": 1}, "classes"),
        ({"recipe": "trl", "losses": []}, "losses"),
        ({"recipe": "trl", "losses": None}, "losses"),
        ({"recipe": "trl", "losses": {"kind": "jsd"}}, "losses"),
        ({"recipe": "trl", "losses": [{"kind": "magic"}]}, "losses.0.kind"),
        ({"recipe": "trl", "losses": [{"kind": "dkd"}]}, "losses.0.kind"),
        ({"recipe": "trl", "losses": [{"kind": "jsd", "beta": 7}]}, "losses.0.beta"),
        ({"recipe": "trl", "losses": [{"kind": "jsd"}], "options": {}}, "losses"),
        ({"recipe": "keras_example", "losses": [{"kind": "soft_targets", "weight": 3}]}, "losses"),
    ],
)
def test_a_fault_is_told_at_its_field(alice: User, body: dict[str, Any], at: str) -> None:
    answer = api_of(alice).post(TRANSLATE, body, format="json")
    assert answer.status_code == 400, answer.json()
    assert at in answer.json()["fields"], answer.json()
    assert answer.json()["code"] == "invalid"


# On the page ------------------------------------------------------------------------------------


def test_the_page_shows_the_sum_and_what_to_know(alices: Client) -> None:
    page = alices.get("/recipes/", {"recipe": "keras_example", "options.alpha": "0.25"})
    text = page.content.decode()
    assert "<b>0.75</b> · 3² · KL(softmax(t/3) ‖ softmax(s/3))" in text
    assert "<b>0.25</b> · −log softmax(s)[label]" in text
    assert "alpha weighs the labels, not the teacher" in text
    assert "gamma 0.25" in text  # what RepDistiller would be told


def test_its_address_is_all_it_knows(alices: Client) -> None:
    asked = {"recipe": "textbrewer", "options.temperature": "8", "options.kd_loss_type": "mse"}
    sent = inputs(alices.get("/recipes/", asked))
    assert {name: sent[name] for name in asked} == asked


def test_another_library_begins_with_its_own_defaults(alices: Client) -> None:
    asked = {"recipe": "keras_example", "applied.recipe": "huggingface_trainer"}
    sent = inputs(alices.get("/recipes/", asked | {"options.alpha": "0.9"}))
    assert (sent["recipe"], sent["options.alpha"]) == ("keras_example", "0.1")


def test_a_library_that_is_not_there_is_the_first(alices: Client) -> None:
    assert inputs(alices.get("/recipes/", {"recipe": "magic"}))["recipe"] == "distillkit"


def test_what_cannot_be_said_is_told_and_leads_nowhere(alices: Client) -> None:
    asked = {"recipe": "keras_distiller", "options.loss": "kl_divergence"}
    text = alices.get("/recipes/", asked).content.decode()
    assert "Something to change first" in text
    assert "pass keras.losses.KLDivergence()" in text
    assert "losses=" not in text


@pytest.mark.parametrize("value", ["warm", "-1", "1e999", "nan", "", "</script><b>"])
def test_whatever_is_typed_the_page_stands(alices: Client, value: str) -> None:
    for recipe in recipes.listed():
        asked = {f"options.{one['name']}": value for one in recipe["options"]}
        asked |= {"recipe": recipe["key"], "classes": value, "project": value}
        page = alices.get("/recipes/", asked)
        assert page.status_code == 200
        assert "</script><b>" not in page.content.decode()


def test_a_change_is_answered_with_its_part_alone(alices: Client) -> None:
    asked = {"recipe": "trl", "options.beta": "0"}
    part = alices.get("/recipes/", asked, headers={"HX-Target": "recipe-result"})
    text = part.content.decode()
    assert "<form" not in text
    assert "KL(t ‖ s)" in text
    assert 'hx-swap-oob="true"' in text
    whole = alices.get("/recipes/", asked, headers={"HX-Target": "recipe-form"}).content.decode()
    assert whole.lstrip().startswith("<form")
    assert "<html" not in whole
    assert part["Vary"].lower().count("hx-target") == 1


def test_the_run_form_leads_here_and_back(alices: Client, cast: None) -> None:
    form = alices.get("/p/intents/runs/new/").content.decode()
    assert "/recipes/?project=intents" in form
    page = alices.get("/recipes/", {"project": "intents"})
    assert 'href="/p/intents/runs/new/"' in page.content.decode()


def test_its_losses_are_handed_over_to_the_run_form(alices: Client, cast: None) -> None:
    asked = {"recipe": "huggingface_trainer", "options.alpha": "0.8", "project": "intents"}
    address = alices.get("/recipes/", asked).context["draft"].run_url
    sent = inputs(alices.get(address))
    assert (sent["losses.0.kind"], sent["losses.0.weight"]) == ("soft_targets", "0.2")
    assert (sent["losses.1.kind"], sent["losses.1.weight"]) == ("hard_labels", "0.8")
    assert (sent["preset"], sent["teachers"]) == ("custom", ["big@1"])
    handed = json.loads(parse_qs(urlsplit(address).query)["losses"][0])
    draft = alices.get(address).context["draft"]
    assert draft.faults == {}
    assert draft.resolved["losses"] == handed


def test_a_weight_that_changes_over_time_is_handed_over_too(alices: Client, cast: None) -> None:
    asked = {"recipe": "textbrewer", "options.kd_loss_weight_scheduler": "linear_decay"}
    draft = alices.get(alices.get("/recipes/", asked).context["draft"].run_url).context["draft"]
    [loss] = draft.resolved["losses"]
    assert (loss["weight"], loss["weight_schedule"]) == (0.0625, "linear")
    sent = inputs(alices.get("/p/intents/runs/new/")) | {"losses.0.weight_schedule": "warmup"}
    sent |= {"action": "launch"}
    assert alices.post("/p/intents/runs/new/", sent).status_code == 302
    cloned = alices.get("/p/intents/runs/new/", {"clone": "1"}).context["draft"]
    assert cloned.resolved["losses"][0]["weight_schedule"] == "warmup"


def test_a_scheme_is_handed_over_too(alices: Client, cast: None) -> None:
    page = alices.get("/recipes/", {"recipe": "trl", "options.lmbda": "0.25"})
    assert "On-policy" in page.content.decode()
    draft = alices.get(page.context["draft"].run_url).context["draft"]
    assert (draft.scheme["kind"], draft.scheme["share"]) == ("on_policy", "0.25")
    said = page.context["draft"].elsewhere
    assert any("offline alone" in one["refusal"] for one in said)


@pytest.mark.parametrize(
    "losses",
    [
        "x", "1", "{}", "[]", "[1]", '[{"weight": 1}]', '[{"kind": 1}]', "[" * 9_000,
        '[{"kind": "jsd", "beta": {}}]', '[{"kind": "jsd", "beta": [[1]]}]',
        json.dumps([{"kind": "jsd"}] * 21), '"' + "x" * 10_001 + '"',
    ],
)  # fmt: skip
def test_an_address_with_other_things_than_losses_is_refused(
    alices: Client, cast: None, losses: str
) -> None:
    page = alices.get("/p/intents/runs/new/", {"losses": losses})
    assert page.status_code == 400
    assert "no list of losses" in page.content.decode()


def test_unknown_losses_of_an_address_are_faults_of_the_form(alices: Client, cast: None) -> None:
    losses = json.dumps([{"kind": "magic"}, {"kind": "jsd", "beta": "much", "more": None}])
    draft = alices.get("/p/intents/runs/new/", {"losses": losses}).context["draft"]
    assert {"losses.0.kind", "losses.1.beta"} <= set(draft.faults)


def test_a_viewer_translates_but_is_led_into_no_project(vera: User, project: Project) -> None:
    text = signed_in(vera).get("/recipes/").content.decode()
    assert "Worth knowing" in text
    assert "in a project of which you are an editor" in text
    assert "losses=" not in text


def test_only_projects_of_ones_own_are_offered(alices: Client, charlie: User) -> None:
    make.project("secret", owner=charlie)
    page = alices.get("/recipes/", {"project": "secret"})
    assert "secret" not in [one.slug for one in page.context["draft"].projects]
    assert page.context["draft"].project.slug == "intents"
    assert page.context["project"].slug == "intents"
