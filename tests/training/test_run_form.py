"""The guided form: what it offers, completes, refuses at the field, and launches once."""

import json
import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from projects.models import DatasetVersion, ModelVersion, Project, User
from tests import make
from tests.conftest import signed_in
from training import catalog
from training.forms import run_yaml
from training.models import Run

LABELS = ["no", "yes"]
FILES = [{"name": "model.safetensors", "sha256": "0" * 64, "bytes": 5}]


@pytest.fixture
def alices(alice: User, project: Project) -> Client:
    return signed_in(alice)


@pytest.fixture
def data(project: Project) -> DatasetVersion:
    return make.dataset_version(project, "mails")


@pytest.fixture
def student(project: Project) -> ModelVersion:
    return make.model_version(project, "tiny", architecture="bag_of_embeddings", parameters=1000)


@pytest.fixture
def teacher(project: Project) -> ModelVersion:
    return make.model_version(
        project, "big", role="teacher", architecture="bag_of_embeddings", parameters=90_000,
        files=FILES, labels=LABELS, metrics={"test/accuracy": 0.91},
    )  # fmt: skip


@pytest.fixture
def bert(project: Project) -> ModelVersion:
    """A student that shows layers and attention."""
    return make.model_version(project, "tiny", architecture="bert", parameters=1000)


@pytest.fixture
def berts_teacher(project: Project) -> ModelVersion:
    return make.model_version(
        project, "big", role="teacher", architecture="bert", parameters=90_000, files=FILES,
        labels=LABELS,
    )  # fmt: skip


def url() -> str:
    return reverse("training:run_new", args=["intents"])


def inputs(page: Any) -> dict[str, Any]:
    """What a browser would send of the page's form, as it stands."""
    html = page.content.decode()
    sent: dict[str, Any] = {}
    for tag in re.findall(r"<input[^>]*>", html):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        can_be_off = 'type="radio"' in tag or 'type="checkbox"' in tag
        if not name or (can_be_off and " checked" not in tag):
            continue
        text = unescape(value[1]) if value else ""
        if name[1] in ("teachers", "exports"):
            sent.setdefault(name[1], []).append(text)
        else:
            sent[name[1]] = text
    for name, options in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', html, re.S):
        chosen = re.search(r'<option(?: value="([^"]*)")? selected>([^<]*)', options)
        first = re.search(r'<option(?: value="([^"]*)")?>([^<]*)', options)
        one = chosen or first
        if one:
            sent[name] = one[1] or one[2]
    for name, text in re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>(.*?)</textarea>', html, re.S):
        sent[name] = unescape(text)
    sent.pop("csrfmiddlewaretoken", None)
    return sent


def after(client: Client, sent: dict[str, Any], **changes: str) -> dict[str, Any]:
    """The form as it stands after these changes and their action."""
    return inputs(client.post(url(), sent | {"action": "refresh"} | changes))


def test_without_data_it_says_what_comes_first(alices: Client) -> None:
    assert "First, bring data" in alices.get(url()).content.decode()


def test_without_a_model_it_says_what_comes_next(alices: Client, data: DatasetVersion) -> None:
    assert "Next, register a model" in alices.get(url()).content.decode()


def test_without_a_trained_teacher_it_begins_with_fine_tuning(
    alices: Client, data: DatasetVersion, student: ModelVersion
) -> None:
    page = alices.get(url())
    sent = inputs(page)
    assert (sent["preset"], sent["dataset"], sent["student"]) == ("fine_tune", "mails@1", "tiny@1")
    assert "Distilling needs a teacher" in page.content.decode()


def test_with_a_teacher_it_begins_with_distillation_and_a_control(
    alices: Client, data: DatasetVersion, student: ModelVersion, teacher: ModelVersion
) -> None:
    page = alices.get(url())
    sent = inputs(page)
    assert sent["preset"] == "soft_targets"
    assert (sent["teachers"], sent["student"]) == (["big@1"], "tiny@1")
    assert (sent["losses.0.weight"], sent["losses.0.temperature"]) == ("0.9", "2")
    assert sent["control"] == "true"
    assert "2² · KL(softmax(t/2) ‖ softmax(s/2))" in page.content.decode()
    assert "90× smaller" in page.content.decode()


def test_a_link_to_a_model_that_nobody_has_says_so(
    alices: Client, data: DatasetVersion, student: ModelVersion, teacher: ModelVersion
) -> None:
    said = alices.get(url(), {"student": "none@1"}).content.decode()
    assert "another was chosen" in said
    assert "another was chosen" not in alices.get(url(), {"student": "tiny@1"}).content.decode()


def test_a_link_to_a_model_brings_a_dataset_of_its_task(
    project: Project, alices: Client, data: DatasetVersion, student: ModelVersion
) -> None:
    make.dataset_version(project, "apples", task="image-classification")
    assert inputs(alices.get(url(), {"student": "tiny@1"}))["dataset"] == "mails@1"
    assert inputs(alices.get(url()))["dataset"] == "mails@1"  # the one that has models


def test_recipes_that_cannot_look_into_the_chosen_models_say_why(
    alices: Client, data: DatasetVersion, student: ModelVersion, teacher: ModelVersion
) -> None:
    page = alices.get(url())
    shown = page.content.decode()
    assert "Compares attention maps; Bag of embeddings shows none." in shown
    [soft] = [
        one for one in page.context["draft"].preset_cards.first if one["key"] == "soft_targets"
    ]
    assert soft["unfit"] == ""


def test_the_form_as_it_stands_launches_a_run_and_its_control(
    alices: Client, data: DatasetVersion, student: ModelVersion, teacher: ModelVersion
) -> None:
    answer = alices.post(url(), inputs(alices.get(url())) | {"action": "launch"})
    assert answer.status_code == 302, answer.content.decode()
    run, control = Run.objects.order_by("number")
    assert answer["Location"] == reverse("training:run_detail", args=["intents", run.number])
    assert (run.student, list(run.teachers.all())) == (student, [teacher])
    assert run.config["losses"][0]["temperature"] == 2.0
    assert control.control_of == run


def test_a_double_click_is_one_run(
    alices: Client, data: DatasetVersion, student: ModelVersion
) -> None:
    sent = inputs(alices.get(url())) | {"action": "launch"}
    first, second = alices.post(url(), sent), alices.post(url(), sent)
    assert first["Location"] == second["Location"]
    assert Run.objects.count() == 1
    alices.post(url(), sent | {"training.seed": "1"})  # another wish from the same page
    assert Run.objects.count() == 2


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"losses.0.temperature": "0"}, "losses.0.temperature"),
        ({"losses.0.temperature": "warm"}, "losses.0.temperature"),
        ({"losses.0.weight": "-1"}, "losses.0.weight"),
        ({"losses.0.kind": "magic"}, "losses.0.kind"),
        ({"training.batch_size": "0"}, "training.batch_size"),
        ({"training.epochs": "two"}, "training.epochs"),
        ({"training.learning_rate": "nan"}, "training.learning_rate"),
        ({"training.precision": "int4"}, "training.precision"),
        ({"dataset": "other@1"}, "dataset"),
        ({"teacher_outputs": "guessed"}, "teacher_outputs"),
        ({"resources.gpus": "many"}, "resources.gpus"),
        ({"exports": ["punchcards"]}, "exports.0"),
    ],
)
def test_a_fault_stands_at_its_field_and_launches_nothing(
    alices: Client,
    data: DatasetVersion,
    student: ModelVersion,
    teacher: ModelVersion,
    changes: dict[str, Any],
    at: str,
) -> None:
    page = alices.post(url(), inputs(alices.get(url())) | {"action": "launch"} | changes)
    assert page.status_code == 200
    assert page.context["draft"].faults.get(at), page.context["draft"].faults
    assert f'href="#fault-{at}"' in page.content.decode()
    assert not Run.objects.exists()


def test_a_teacher_of_other_labels_is_told_at_the_teacher(
    alices: Client, project: Project, data: DatasetVersion, student: ModelVersion
) -> None:
    make.model_version(
        project, "odd", role="teacher", architecture="bag_of_embeddings", files=FILES,
        labels=["cat", "dog"],
    )  # fmt: skip
    draft = alices.get(url()).context["draft"]
    assert "teachers.0" in draft.faults


def test_a_check_answers_with_the_summary_alone(
    alices: Client, data: DatasetVersion, student: ModelVersion, teacher: ModelVersion
) -> None:
    sent = inputs(alices.get(url())) | {"action": "check", "losses.0.weight": "0.5"}
    page = alices.post(url(), sent | {"losses.1.weight": "0.5"}, headers={"HX-Request": "true"})
    text = page.content.decode()
    assert "<form" not in text
    assert 'hx-swap-oob="true"' in text
    assert "50 %" in text
    assert 'id="run-faults"' in text


def test_another_recipe_sets_its_losses(
    alices: Client, data: DatasetVersion, student: ModelVersion, teacher: ModelVersion
) -> None:
    sent = inputs(alices.get(url())) | {"action": "refresh"}
    page = alices.post(url(), sent | {"preset": "fine_tune"}, headers={"HX-Request": "true"})
    after = inputs(page)
    assert after["losses.0.kind"] == "hard_labels"
    assert "teachers" not in after
    back = inputs(alices.post(url(), after | {"action": "refresh", "preset": "logit_regression"}))
    assert (back["losses.0.kind"], back["teachers"]) == ("logit_mse", ["big@1"])


def test_terms_are_added_and_removed(
    alices: Client, data: DatasetVersion, student: ModelVersion, teacher: ModelVersion
) -> None:
    sent = inputs(alices.get(url()))
    more = inputs(alices.post(url(), sent | {"action": "add:logit_mse"}))
    assert (more["losses.2.kind"], more["preset"]) == ("logit_mse", "custom")
    less = inputs(alices.post(url(), more | {"action": "remove:0"}))
    assert [less["losses.0.kind"], less["losses.1.kind"]] == ["hard_labels", "logit_mse"]


def test_what_was_typed_survives_another_student(
    alices: Client, project: Project, data: DatasetVersion, student: ModelVersion
) -> None:
    make.model_version(project, "small", architecture="text_cnn")
    sent = inputs(alices.get(url())) | {"training.epochs": "17"}
    after = inputs(alices.post(url(), sent | {"action": "refresh", "student": "small@1"}))
    assert (after["training.epochs"], after["student"]) == ("17", "small@1")


def test_a_clone_begins_with_the_whole_configuration(
    alices: Client, project: Project, data: DatasetVersion, student: ModelVersion,
    teacher: ModelVersion,
) -> None:  # fmt: skip
    sent = inputs(alices.get(url())) | {"losses.0.temperature": "7", "training.seed": "3"}
    alices.post(url(), sent | {"action": "launch", "name": "warm"})
    cloned = inputs(alices.get(url(), {"clone": "1"}))
    assert (cloned["losses.0.temperature"], cloned["training.seed"]) == ("7", "3")
    assert (cloned["name"], cloned["teachers"], cloned["student"]) == ("warm", ["big@1"], "tiny@1")
    assert alices.get(url(), {"clone": "99"}).status_code == 404
    assert alices.get(url(), {"clone": "x"}).status_code == 404


def test_what_is_folded_is_kept_on_every_way(
    alices: Client, data: DatasetVersion, student: ModelVersion, teacher: ModelVersion
) -> None:
    sent = inputs(alices.get(url())) | {
        "exports": ["onnx-int8"], "resources.gpus": "2", "evaluation.slices": "region, age",
        "teacher_outputs": "live", "resources.memory_mib": "700", "priority": "high",
    }  # fmt: skip
    there = after(alices, after(alices, sent, action="written"), action="guided")
    assert alices.post(url(), there | {"action": "launch"}).status_code == 302
    run = Run.objects.get(number=1)
    config = run.config
    assert (config["exports"], config["resources"]["gpus"]) == (["onnx-int8"], 2)
    assert (run.priority, run.gpus, run.memory_bytes) == (Run.Priority.HIGH, 2, 700 << 20)
    assert config["evaluation"] == {"slices": ["region", "age"]}
    assert config["teacher_outputs"] == "live"
    cloned = inputs(alices.get(url(), {"clone": "1"}))
    for name in ("exports", "resources.gpus", "evaluation.slices", "teacher_outputs",
                 "resources.memory_mib"):  # fmt: skip
        assert cloned[name] == sent[name]
    assert cloned["priority"] == "normal"  # a turn is asked for anew


def test_several_teachers_get_shares(
    alices: Client, project: Project, data: DatasetVersion, student: ModelVersion,
    teacher: ModelVersion,
) -> None:  # fmt: skip
    make.model_version(
        project, "big2", role="teacher", architecture="text_cnn", files=FILES, labels=LABELS
    )
    sent = inputs(alices.get(url())) | {"teachers": ["big@1", "big2@1"], "action": "launch"}
    alices.post(url(), sent | {"share.big@1": "3"})
    asked = Run.objects.get(number=1).config["teachers"]
    assert asked == [{"model": "big@1", "weight": 3.0}, "big2@1"]


def test_an_unfinished_run_can_be_the_teacher_to_come(
    alices: Client, project: Project, data: DatasetVersion, student: ModelVersion
) -> None:
    make.model_version(project, "big", role="teacher", architecture="text_cnn")
    first = inputs(alices.get(url())) | {"student": "big@1", "action": "launch"}
    alices.post(url(), first)
    page = alices.get(url(), {"teacher": "run/1", "preset": "soft_targets", "student": "tiny@1"})
    assert inputs(page)["teachers"] == ["run/1"]
    alices.post(url(), inputs(page) | {"action": "launch"})
    assert Run.objects.get(number=2).status == "waiting"


def test_viewers_and_strangers_cannot_open_it(vera: User, charlie: User, project: Project) -> None:
    assert signed_in(vera).get(url()).status_code == 403
    assert signed_in(charlie).get(url()).status_code == 404


def test_foreign_parts_are_not_there(
    alices: Client, alice: User, data: DatasetVersion, student: ModelVersion
) -> None:
    other = make.project("other", owner=alice)
    make.dataset_version(other, "secrets")
    make.model_version(other, "hidden", architecture="text_cnn")
    page = alices.get(url(), {"dataset": "secrets@1", "student": "hidden@1"})
    assert "hidden@1" not in page.content.decode()
    assert "secrets@1" not in [one.reference for one in page.context["draft"].datasets]
    sent = inputs(alices.get(url())) | {"dataset": "secrets@1", "action": "launch"}
    assert "dataset" in alices.post(url(), sent).context["draft"].faults


def test_what_people_named_is_text(alices: Client, project: Project, student: ModelVersion) -> None:
    evil = "</script><script>alert(1)</script>"
    make.dataset_version(project, "mails", labels=(evil, "b"))
    sent = inputs(alices.get(url())) | {"name": evil, "action": "refresh"}
    page = alices.post(url(), sent | {"training.epochs": evil, "losses.0.weight": evil})
    assert evil not in page.content.decode()


# Presets, schemes, stages ---------------------------------------------------------------------

TEXT_PRESETS = [one["key"] for one in catalog.presets() if "text-classification" in one["tasks"]]


@pytest.mark.parametrize("key", TEXT_PRESETS)
def test_each_preset_fills_the_form_and_can_be_launched_as_it_stands(
    alices: Client, project: Project, data: DatasetVersion, bert: ModelVersion,
    berts_teacher: ModelVersion, key: str,
) -> None:  # fmt: skip
    preset = next(one for one in catalog.presets() if one["key"] == key)
    make.model_version(
        project, "other", role="teacher", architecture="bert", files=FILES, labels=LABELS
    )
    sent = after(alices, inputs(alices.get(url())), preset=key)
    assert sent["preset"] == key
    assert len(sent.get("teachers", [])) == preset["teachers"]
    answer = alices.post(url(), sent | {"action": "launch"})
    assert answer.status_code == 302, answer.context["draft"].faults
    config = Run.objects.get(number=1).config
    scheme = preset["scheme"] if isinstance(preset["scheme"], str) else preset["scheme"]["kind"]
    asked = config["scheme"]
    assert (asked if isinstance(asked, str) else asked["kind"]) == scheme
    for said, meant in zip(
        config.get("stages", [config]), preset["stages"] or [preset], strict=True
    ):
        for got, wanted in zip(said["losses"], meant["losses"], strict=True):
            assert wanted.items() <= got.items()
    assert inputs(alices.get(url(), {"clone": "1"}))["preset"] == key


def test_six_recipes_are_seen_at_once_and_the_chosen_one_is_among_them(
    alices: Client, data: DatasetVersion, bert: ModelVersion, berts_teacher: ModelVersion
) -> None:
    sent = inputs(alices.get(url()))
    cards = (
        alices.post(url(), sent | {"action": "refresh", "preset": "tinybert"})
        .context["draft"]
        .preset_cards
    )
    keys = [one["key"] for one in cards.first]
    assert (len(keys), keys[-1]) == (6, "custom")
    assert "tinybert" in keys
    assert [family for family, _ in cards.more][:2] == ["Begin here", "Answers"]


def test_what_a_preset_set_in_the_training_is_taken_back_by_the_next(
    alices: Client, project: Project
) -> None:
    make.dataset_version(project, "photos", task="image-classification")
    for name, files in (("big", FILES), ("tiny", [])):
        make.model_version(
            project, name, task="image-classification", architecture="small_convnet", files=files,
            labels=LABELS if files else [],
        )  # fmt: skip
    sent = after(alices, inputs(alices.get(url())), preset="resnet_to_mobilenet")
    assert sent["training.augmentation"] == "light"
    assert after(alices, sent, preset="soft_targets")["training.augmentation"] == "none"
    typed = sent | {"training.augmentation": "strong"}
    assert after(alices, typed, preset="soft_targets")["training.augmentation"] == "strong"


def test_another_scheme_keeps_the_terms_and_says_who_is_needed(
    alices: Client, data: DatasetVersion, bert: ModelVersion, berts_teacher: ModelVersion
) -> None:
    sent = inputs(alices.get(url())) | {"losses.0.temperature": "3"}
    mutual = after(alices, sent, **{"scheme.kind": "mutual"})
    assert (mutual["losses.0.temperature"], mutual["preset"]) == ("3", "custom")
    assert (mutual["scheme.students"], mutual["control"]) == ("2", "true")
    assert "teachers" not in mutual
    page = alices.post(url(), mutual | {"scheme.students": "1", "action": "launch"})
    assert set(page.context["draft"].faults) == {"scheme.students"}
    alices.post(url(), mutual | {"scheme.students": "3", "action": "launch"})
    run, control = Run.objects.order_by("number")
    assert run.config["scheme"] == {"kind": "mutual", "students": 3}
    assert control.config["scheme"] == "offline"
    assert after(alices, mutual, **{"scheme.kind": "offline"})["teachers"] == ["big@1"]


def test_students_teach_each_other_where_there_is_no_teacher(
    alices: Client, data: DatasetVersion, student: ModelVersion
) -> None:
    sent = after(alices, inputs(alices.get(url())), preset="mutual")
    assert alices.post(url(), sent | {"action": "launch"}).status_code == 302


def test_stages_are_added_moved_filled_and_removed(
    alices: Client, data: DatasetVersion, bert: ModelVersion, berts_teacher: ModelVersion
) -> None:
    sent = inputs(alices.get(url())) | {"losses.0.temperature": "3"}
    one = after(alices, sent, **{"scheme.kind": "staged"})
    assert one["stages.0.losses.0.temperature"] == "3"
    two = after(alices, one, action="stages.add")
    two = after(alices, two, action="stages.1.add:hidden_states")
    two |= {"stages.1.name": "layers", "stages.1.epochs": "2", "stages.1.learning_rate": "1e-4"}
    two = after(alices, two, action="stages.1.remove:0")
    assert two["stages.1.losses.0.kind"] == "hidden_states"
    turned = after(alices, two, action="stages.1.up")
    assert (turned["stages.0.name"], turned["stages.0.epochs"]) == ("layers", "2")
    assert turned["stages.1.losses.0.temperature"] == "3"
    answer = alices.post(url(), turned | {"action": "launch"})
    assert answer.status_code == 302, answer.context["draft"].faults
    first, second = Run.objects.get(number=1).config["stages"]
    assert (first["name"], first["epochs"], first["learning_rate"]) == ("layers", 2, 0.0001)
    assert [one["kind"] for one in second["losses"]] == ["soft_targets", "hard_labels"]
    cloned = inputs(alices.get(url(), {"clone": "1"}))
    assert cloned["stages.1.losses.0.temperature"] == "3"
    alone = after(alices, turned, action="stages.0.drop")
    assert "stages.1.name" not in alone
    plain = after(alices, turned, **{"scheme.kind": "offline"})
    assert plain["losses.0.kind"] == "soft_targets"


def test_a_fault_in_a_stage_stands_at_its_field(
    alices: Client, data: DatasetVersion, bert: ModelVersion, berts_teacher: ModelVersion
) -> None:
    sent = after(alices, inputs(alices.get(url())), preset="tinybert")
    page = alices.post(
        url(),
        sent | {"stages.1.losses.0.temperature": "-1", "stages.0.epochs": "x", "action": "launch"},
    )
    assert set(page.context["draft"].faults) == {"stages.1.losses.0.temperature", "stages.0.epochs"}
    assert 'href="#fault-stages.0.epochs"' in page.content.decode()


def test_a_weight_may_change_while_the_run_trains(
    alices: Client, data: DatasetVersion, bert: ModelVersion, berts_teacher: ModelVersion
) -> None:
    sent = inputs(alices.get(url()))
    sent |= {"losses.0.weight_schedule": "linear", "losses.0.final_weight": "0.1"}
    page = alices.post(url(), sent | {"action": "check"}, headers={"HX-Request": "true"})
    assert "0.9 → 0.1" in page.content.decode()
    alices.post(url(), sent | {"action": "launch"})
    loss = Run.objects.get(number=1).config["losses"][0]
    assert (loss["weight_schedule"], loss["final_weight"]) == ("linear", 0.1)


def test_only_what_fits_the_labels_is_offered(
    alices: Client, project: Project, student: ModelVersion
) -> None:
    make.dataset_version(project, "prices", labels=(), reading={"problem": "regression"})
    draft = alices.get(url()).context["draft"]
    offered = {loss["key"] for _, losses in draft.addable for loss in losses}
    assert "logit_mse" in offered
    assert not offered & {"soft_targets", "dkd", "reverse_kl"}
    presets = {preset["key"] for preset in draft.presets}
    assert {"fine_tune", "logit_regression", "rkd", "custom"} <= presets
    assert "soft_targets" not in presets
    assert draft.terms[0].formula == "(s − label)²"


def test_unlike_networks_are_warned_of_when_layers_are_compared(
    alices: Client, project: Project, data: DatasetVersion, bert: ModelVersion,
    berts_teacher: ModelVersion,
) -> None:  # fmt: skip
    make.model_version(project, "conv", architecture="text_cnn")
    sent = after(alices, inputs(alices.get(url())), preset="pkd")
    alike = alices.post(url(), sent | {"action": "check", "student": "tiny@1"}).context["draft"]
    unlike = alices.post(url(), sent | {"action": "check", "student": "conv@1"}).context["draft"]
    assert not any("often hurts" in one for one in alike.warnings)
    assert any("often hurts" in one for one in unlike.warnings)


# As YAML --------------------------------------------------------------------------------------


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
