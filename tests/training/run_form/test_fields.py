"""The guided form: what it offers, completes, refuses at the field, and launches once."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from projects.models import DatasetVersion, ModelVersion, Project, User
from tests import make
from tests.conftest import signed_in
from tests.training.run_form.conftest import FILES, LABELS
from tests.training.run_form.filled import after, inputs, url
from training.models import Run


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
