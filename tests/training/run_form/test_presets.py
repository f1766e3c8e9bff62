"""What presets, schemes and stages make of the form."""

import pytest
from django.test import Client

from projects.models import DatasetVersion, ModelVersion, Project
from tests import make
from tests.training.run_form.conftest import FILES, LABELS
from tests.training.run_form.filled import after, inputs, url
from training import catalog
from training.models import Run

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
