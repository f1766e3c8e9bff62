"""What cannot be trained is refused before it is queued, and what a run takes is told."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.http import QueryDict
from django.utils import timezone

from distillhub.lib import storage
from distillhub.lib.errors import Invalid
from projects.models import DatasetVersion, ModelVersion, Project, User
from tests import make
from tests.conftest import api_of, signed_in
from tests.training.conftest import asked
from training.forms.run import RunDraft
from training.models import Run, Worker
from training.services import runs, teacher_outputs
from training.worker import metrics
from training.worker.metrics import Measured

pytestmark = pytest.mark.django_db
FILES = [{"name": "model.safetensors", "sha256": "0" * 64, "bytes": 1}]
LABELS = ("account", "billing", "delivery")
TOKENS = {"kind": "wordpiece", "vocabulary": 500, "trained": True, "sha256": "a" * 64}


def network(
    project: Project, name: str, architecture: str = "bert", *, trained: bool = True, **fields: Any
) -> ModelVersion:
    given: dict[str, Any] = {"architecture": architecture, "parameters": 1_000_000}
    if trained:
        given |= {"files": FILES, "labels": list(LABELS), "tokenizer": TOKENS}
    return make.model_version(project, name, **given | fields)


def data(project: Project, **fields: Any) -> DatasetVersion:
    return make.dataset_version(project, "tickets", labels=LABELS, **fields)


def faults(project: Project, **changes: Any) -> dict[str, list[str]]:
    with pytest.raises(Invalid) as refused:
        runs.preview(project=project, configuration=asked(**changes))
    return {name: list(found) for name, found in refused.value.fields.items()}


HIDDEN = [{"kind": "hidden_states", "weight": 1.0}, {"kind": "hard_labels", "weight": 1.0}]


def test_layers_are_compared_with_one_teacher(project: Project) -> None:
    data(project)
    network(project, "tiny", trained=False)
    network(project, "one")
    network(project, "two")
    found = faults(project, teachers=["one@1", "two@1"], losses=HIDDEN)
    assert "Choose one teacher" in found["teachers"][0]


@pytest.mark.parametrize(
    ("architecture", "form", "words"),
    [
        ("bag_of_embeddings", "tinybert", "shows none"),
        ("fnet", "tinybert", "attention maps"),
        ("deberta", "minilm", "separate queries, keys and values"),
    ],
)
def test_what_an_architecture_does_not_show_is_refused_at_the_term(
    project: Project, architecture: str, form: str, words: str
) -> None:
    data(project)
    network(project, "tiny", trained=False)
    network(project, "one", architecture)
    terms = [
        {"kind": "hard_labels", "weight": 1.0},
        {"kind": "attention_maps", "weight": 1.0, "form": form},
    ]
    found = faults(project, teachers=["one@1"], losses=terms)
    assert set(found) == {"losses.1.kind"}
    assert words in found["losses.1.kind"][0]
    assert "one@1" in found["losses.1.kind"][0]


def test_a_student_of_one_layer_is_refused_where_inner_layers_learn(project: Project) -> None:
    data(project)
    network(project, "tiny", "bag_of_embeddings", trained=False)
    found = faults(project, scheme="early_exits")
    assert "at least 2 layers" in found["student"][0]
    network(project, "deep", "bert", trained=False)
    runs.preview(project=project, configuration=asked(scheme="early_exits", student="deep@1"))


def test_a_term_without_weight_is_not_held_against_anybody(project: Project) -> None:
    data(project)
    network(project, "tiny", trained=False)
    network(project, "one", "fnet")
    terms = [
        {"kind": "soft_targets", "weight": 1.0},
        {"kind": "attention_maps", "weight": 0.0},
    ]
    runs.preview(project=project, configuration=asked(teachers=["one@1"], losses=terms))


def test_a_student_with_weights_reads_its_teachers_tokens(project: Project) -> None:
    data(project)
    network(project, "tiny", tokenizer=TOKENS | {"sha256": "b" * 64})
    network(project, "one")
    found = faults(project, teachers=["one@1"], losses=HIDDEN)
    assert "takes over its teacher's tokenizer" in found["student"][0]
    soft = [{"kind": "soft_targets", "weight": 1.0}]
    runs.preview(project=project, configuration=asked(teachers=["one@1"], losses=soft))


def test_tokenizers_are_told_apart_by_size_where_no_digest_is_known(project: Project) -> None:
    data(project)
    plain = {"kind": "wordpiece", "vocabulary": 500, "trained": True}
    network(project, "tiny", tokenizer=plain)
    network(project, "one")
    runs.preview(project=project, configuration=asked(teachers=["one@1"], losses=HIDDEN))
    network(project, "tiny", tokenizer=plain | {"vocabulary": 800})
    found = faults(project, student="tiny@2", teachers=["one@1"], losses=HIDDEN)
    assert set(found) == {"student"}


def test_networks_that_write_read_the_same_tokens(project: Project) -> None:
    task = "text-generation"
    make.dataset_version(project, "plays", task=task, labels=(), fingerprint="e" * 64)
    for name, sha256 in (("tiny", "a"), ("one", "b"), ("two", "c")):
        network(
            project, name, "gru_language_model", task=task, labels=[],
            tokenizer=TOKENS | {"sha256": sha256 * 64}, source={"kind": "run", "run": 1},
        )  # fmt: skip
    soft = [{"kind": "soft_targets", "weight": 1.0}]
    changes: dict[str, Any] = {"task": task, "dataset": "plays@1", "losses": soft}
    found = faults(project, teachers=["one@1"], **changes)
    assert "at every token" in found["student"][0]
    found = faults(project, teachers=["one@1", "two@1"], **changes)
    assert "Choose teachers with one tokenizer" in found["teachers.1"][0]


# -- chats ----------------------------------------------------------------------------------------


def said(*roles: str) -> str:
    return json.dumps([{"role": role, "content": "a word"} for role in roles])


@pytest.fixture
def chats(project: Project, tmp_path: Path) -> DatasetVersion:
    """Ten chats, of which three begin with a system message."""
    texts = [said("system", "user", "assistant")] * 3 + [said("user", "assistant")] * 7
    pq.write_table(pa.table({"text": texts}), tmp_path / "chats.parquet")
    sha256 = storage.put(tmp_path / "chats.parquet").sha256
    return make.dataset_version(
        project, "chats", task="text-generation", labels=(), file_sha256=sha256
    )


def speaker(project: Project, name: str, **known: Any) -> ModelVersion:
    found = {"template": True, "speakers": False, "problems": {}} | known
    return network(
        project, name, "gpt2-lm", task="text-generation", labels=[],
        tokenizer=TOKENS | {"chats": found}, source={"kind": "hub", "id": "a/b"},
    )  # fmt: skip


CHATTING: dict[str, Any] = {
    "task": "text-generation",
    "dataset": "chats@1",
    "losses": [{"kind": "hard_labels", "weight": 1.0}],
}


@pytest.mark.parametrize("place", ["student", "teachers.0"])
def test_a_chat_template_that_refuses_the_datasets_chats_is_told_with_what_to_do(
    project: Project, chats: DatasetVersion, place: str
) -> None:
    refused = {"system": "The model's chat template refuses a conversation: no system messages."}
    speaker(project, "strict", problems=refused)
    speaker(project, "easy", problems={"repeats": "The model's chat template refuses it."})
    changes = CHATTING | {"student": "strict@1"}
    if place == "teachers.0":
        soft = [{"kind": "soft_targets", "weight": 1.0}]
        changes = CHATTING | {"student": "easy@1", "teachers": ["strict@1"], "losses": soft}
    found = faults(project, **changes)
    assert set(found) == {place}
    assert (
        "no system messages. strict@1 fails where a system message comes first" in found[place][0]
    )
    assert "3 of the first 2,000 rows of chats@1" in found[place][0]
    assert "Take a model whose template takes them" in found[place][0]
    runs.preview(project=project, configuration=asked(**CHATTING | {"student": "easy@1"}))


def test_a_template_that_changes_earlier_words_is_refused_before_the_queue(
    project: Project, chats: DatasetVersion
) -> None:
    rewrites = "The model's chat template changes earlier words when a message is added."
    speaker(project, "strict", problems={"turns": rewrites})
    found = faults(project, **CHATTING | {"student": "strict@1"})
    assert "10 of the first 2,000 rows" in found["student"][0]


def test_chats_without_a_template_are_warned_of(project: Project, chats: DatasetVersion) -> None:
    speaker(project, "bare", template=False)
    speaker(project, "made-for-it", template=False, speakers=True)
    warned = foresee(project, **CHATTING | {"student": "bare@1"})
    assert any("bare@1 has no chat template" in one for one in warned["warnings"])
    warned = foresee(project, **CHATTING | {"student": "made-for-it@1"})
    assert not any("chat template" in one for one in warned["warnings"])


# -- pictures and sounds --------------------------------------------------------------------------


def reading(project: Project, name: str, folder: Path, **how: Any) -> ModelVersion:
    """A trained convnet that reads pictures so."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"preprocessing": how}))
    blob = storage.put(path)
    own = {"name": "distillhub.json", "sha256": blob.sha256, "bytes": blob.bytes}
    return network(
        project, name, "small_convnet", task="image-classification", tokenizer=None,
        files=[*FILES, own],
    )  # fmt: skip


def looking(project: Project, **changes: Any) -> dict[str, Any]:
    make.dataset_version(project, "pictures", task="image-classification", labels=LABELS)
    return {"task": "image-classification", "dataset": "pictures@1", **changes}


def test_layers_of_pictures_of_other_sizes_are_refused(project: Project, tmp_path: Path) -> None:
    small = {"height": 28, "width": 28, "channels": 1, "mean": [0.1]}
    reading(project, "student", tmp_path, **small)
    reading(project, "alike", tmp_path, **small | {"mean": [0.2]})
    reading(project, "teacher", tmp_path, **small | {"height": 32, "width": 32})
    changes = looking(project, student="student@1", losses=HIDDEN)
    found = faults(project, teachers=["teacher@1"], **changes)
    assert set(found) == {"student"}
    assert "student@1 reads pictures of 28 by 28 pixels, grey" in found["student"][0]
    assert "teacher@1 pictures of 32 by 32 pixels" in found["student"][0]
    assert "Begin with a student without weights" in found["student"][0]
    runs.preview(project=project, configuration=asked(teachers=["alike@1"], **changes))
    soft = changes | {"losses": [{"kind": "soft_targets", "weight": 1.0}]}
    runs.preview(project=project, configuration=asked(teachers=["teacher@1"], **soft))
    moved = soft | {"training": {"augmentation": "light"}}
    found = faults(project, teachers=["teacher@1"], **moved)
    assert "moved inputs" in found["student"][0]


def test_layers_with_other_places_are_refused_at_their_term(project: Project) -> None:
    task: dict[str, Any] = {"task": "image-classification", "tokenizer": None}
    network(project, "maps", "resnet", trained=False, task=task["task"])
    network(project, "coarse", "vit", trained=False, config={"patch_size": 16}, task=task["task"])
    network(project, "fine", "vit", config={"patch_size": 8}, **task)
    changes = looking(project, teachers=["fine@1"])
    found = faults(project, student="maps@1", losses=HIDDEN, **changes)
    assert "one place for each patch" in found["losses.0.kind"][0]
    found = faults(project, student="coarse@1", losses=HIDDEN, **changes)
    assert "patches of 16 pixels and fine@1 of 8" in found["losses.0.kind"][0]
    assert "Take the mean of places" in found["losses.0.kind"][0]
    mean = [{"kind": "hidden_states", "weight": 1.0, "places": "mean"}, HIDDEN[1]]
    runs.preview(project=project, configuration=asked(student="coarse@1", losses=mean, **changes))


def test_layers_of_sounds_that_are_heard_otherwise_are_refused(project: Project) -> None:
    task = "audio-classification"
    make.dataset_version(project, "sounds", task=task, labels=LABELS)
    network(project, "tiny", "spectrogram_convnet", trained=False, task=task)
    network(project, "big", "wav2vec2", task=task, tokenizer=None)
    changes: dict[str, Any] = {"task": task, "dataset": "sounds@1", "teachers": ["big@1"]}
    mean = [{"kind": "hidden_states", "weight": 1.0, "places": "mean"}, HIDDEN[1]]
    found = faults(project, student="tiny@1", losses=mean, **changes)
    assert "tiny@1 hears mel spectrograms and big@1 waveforms" in found["student"][0]


def test_a_form_that_the_student_cannot_have_is_refused_with_the_run(project: Project) -> None:
    make.dataset_version(project, "plays", task="text-generation", labels=())
    network(project, "gru", "gru_language_model", trained=False, task="text-generation")
    changes = CHATTING | {"dataset": "plays@1", "student": "gru@1"}
    found = faults(project, exports=["onnx", "torch-export"], **changes)
    assert set(found) == {"exports"}
    assert "Export it as onnx" in found["exports"][0]
    page = RunDraft.from_address(project, QueryDict("dataset=plays@1&student=gru@1"))
    assert [one["key"] for one in page.export_choices] == ["onnx", "onnx-int8", "onnx-int8-static"]
    page.exports = ["torch-export"]  # ticked before the student was chosen
    assert "torch-export" in [one["key"] for one in page.export_choices]


def test_a_route_is_a_column_of_the_dataset(project: Project) -> None:
    columns = [
        {"name": "text", "type": "text", "role": "text"},
        {"name": "who", "type": "category", "role": "keep"},
    ]
    data(project, columns=columns)
    network(project, "tiny", trained=False)
    network(project, "one")
    network(project, "two")
    soft = [{"kind": "soft_targets", "weight": 1.0}]
    changes = {"teachers": ["one@1", "two@1"], "losses": soft}

    def routed(column: str) -> dict[str, str]:
        return {"kind": "offline", "combine": "route", "route_column": column}

    found = faults(project, scheme=routed("whom"), **changes)
    assert "It has text, who" in found["scheme.route_column"][0]
    runs.preview(project=project, configuration=asked(scheme=routed("who"), **changes))


def test_words_that_a_network_would_not_see_are_told_before_the_queue(project: Project) -> None:
    task = "token-classification"
    data(project, task=task, statistics={"measures": {"words": {"maximum": 70}}})
    shared: dict[str, Any] = {"architecture": "bilstm", "task": task}
    network(project, "short", trained=False, config={"max_length": 64}, **shared)
    network(project, "long", trained=False, config={"max_length": 128}, **shared)
    network(project, "big", config={"max_length": 64}, **shared)
    network(project, "bigger", config={"max_length": 128}, **shared)
    chosen = {"task": task, "dataset": "tickets@1", "teachers": ["big@1"]}
    found = faults(project, student="short@1", **chosen)
    assert "short@1 sees 64 tokens, and a row of tickets@1 has 70 words" in found["student"][0]
    assert "larger max_length" in found["teachers.0"][0]
    fitting = chosen | {"student": "long@1", "teachers": ["bigger@1"]}
    runs.preview(project=project, configuration=asked(**fitting))


# -- estimates ------------------------------------------------------------------------------------


@pytest.fixture
def pair(project: Project) -> DatasetVersion:
    found = data(project)
    network(project, "tiny", trained=False, parameters=1_000_000)
    network(project, "one", parameters=4_000_000)
    return found


def foresee(project: Project, **changes: Any) -> dict[str, Any]:
    return runs.foresee(project=project, configuration=asked(**changes))


def test_memory_grows_with_weights_batches_and_students(
    project: Project, pair: DatasetVersion
) -> None:
    alone = foresee(project)["estimates"]
    taught = foresee(project, teachers=["one@1"])["estimates"]
    assert taught["memory_bytes"] - alone["memory_bytes"] == 4_000_000 * 4
    larger = foresee(project, training={"batch_size": 64})["estimates"]
    assert larger["memory_bytes"] > alone["memory_bytes"]
    soft = [{"kind": "soft_targets", "weight": 1.0}, {"kind": "hard_labels", "weight": 1.0}]
    mutual = foresee(project, scheme={"kind": "mutual", "students": 3}, losses=soft)["estimates"]
    assert mutual["memory_bytes"] > alone["memory_bytes"] + 2 * 1_000_000 * 4 * 5
    assert "3 students" in mutual["based_on"]["memory"]
    itself = foresee(project, scheme="ema_teacher", losses=soft)["estimates"]
    assert itself["memory_bytes"] - alone["memory_bytes"] == 1_000_000 * 4
    assert "and a copy" in itself["based_on"]["memory"]


def test_weights_are_at_most_so_many_until_a_tokenizer_is_trained(
    project: Project, erin: User
) -> None:
    data(project)
    fresh: dict[str, Any] = {
        "config": {"vocabulary": 8000, "dim": 64}, "parameters": 512_650,
        "tokenizer": {"kind": "word", "vocabulary": 8000, "trained": False},
        "source": {"kind": "architecture", "assumes": "10 labels and a vocabulary of 8,000"},
    }  # fmt: skip
    network(project, "bag", "bag_of_embeddings", trained=False, **fresh)
    form = f"/p/{project.slug}/runs/new/?dataset=tickets@1&student=bag@1"

    def shown(page: str) -> str:
        return signed_in(erin).get(page).content.decode()

    told = foresee(project, student="bag@1")["estimates"]
    assert told["based_on"]["memory"].startswith("at most 512,650 weights")
    assert "at most 513k parameters" in shown(form)  # on its card
    assert "may find fewer words" in shown(form)
    version = shown(f"/p/{project.slug}/models/bag/1/")
    assert "at most 513k" in version
    assert "counted for 10 labels and a vocabulary of 8,000" in version
    assert "at most 513k" in shown(f"/p/{project.slug}/students/")
    network(
        project, "bag", "bag_of_embeddings", config=fresh["config"], parameters=145_485,
        source={"kind": "run", "run": 1},
    )  # fmt: skip
    known = foresee(project, student="bag@1")["estimates"]
    assert known["based_on"]["memory"].startswith("about 145,485 weights")
    assert "about 145k parameters" in shown(form)
    assert "at most" not in shown(f"/p/{project.slug}/models/bag/2/")


def test_disk_counts_what_is_not_stored_yet(project: Project, pair: DatasetVersion) -> None:
    before = foresee(project, teachers=["one@1"])["estimates"]
    alone = foresee(project)["estimates"]
    assert before["disk_bytes"] - alone["disk_bytes"] == 100 * 3 * 2
    make.teacher_outputs(pair, "one@1")  # of another model that is called so, too
    again = foresee(project, teachers=["one@1"])["estimates"]
    assert again["disk_bytes"] == before["disk_bytes"]
    digest = teacher_outputs.digest(ModelVersion.objects.get(model__name="one"))
    make.teacher_outputs(pair, "one@1", teacher=digest)
    after = foresee(project, teachers=["one@1"])["estimates"]
    assert after["disk_bytes"] == alone["disk_bytes"]
    assert "whose answers are stored" in after["based_on"]["disk"]


def test_disk_counts_every_frozen_view_and_no_answers_to_rows_that_always_change(
    project: Project, pair: DatasetVersion
) -> None:
    def answers(**training: Any) -> int:
        alone, taught = (
            foresee(project, training={"epochs": 3, **training}, teachers=teachers)["estimates"]
            for teachers in ([], ["one@1"])
        )
        return int(taught["disk_bytes"] - alone["disk_bytes"])

    train = pair.splits["train"]["rows"] * 3 * 2
    assert answers() == 100 * 3 * 2
    assert answers(augmentation="light") == 100 * 3 * 2 - train
    assert answers(augmentation="light", augmentation_views=2) == 100 * 3 * 2 + train
    assert answers(augmentation="light", augmentation_views=64) == 100 * 3 * 2 + 2 * train


STAGES = [
    {"name": "layers", "epochs": 2, "losses": HIDDEN},
    {"name": "answers", "losses": [{"kind": "soft_targets", "weight": 1.0}]},
]


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        ({}, 3),
        ({"scheme": "born_again"}, 9),  # its two generations after the first are not written down
        ({"scheme": {"kind": "born_again", "generations": 1}}, 6),
        ({"scheme": "staged", "stages": STAGES, "teachers": ["one@1"]}, 5),
    ],
)
def test_steps_are_those_of_all_stages_and_generations(
    project: Project, pair: DatasetVersion, changes: dict[str, Any], epochs: int
) -> None:
    if changes.get("scheme") not in (None, "staged"):
        changes = changes | {"losses": [{"kind": "soft_targets", "weight": 1.0}]}
    found = foresee(project, **changes)["estimates"]
    assert found["steps"] == epochs * 3  # 80 rows, 32 at a time
    assert found["windows"] is None
    assert found["based_on"]["steps"] == f"{epochs} epochs of 80 rows"


def test_steps_of_texts_are_counted_in_windows_and_said_to_be_about(
    project: Project, erin: User
) -> None:
    task = "text-generation"
    lengths = {"mean": 1900.0, "histogram": {"edges": [1800, 1900, 2000], "counts": [50, 50]}}
    plays = make.dataset_version(
        project, "plays", task=task, labels=(), statistics={"measures": {"characters": lengths}}
    )
    config = {"max_length": 128, "vocabulary": 4000}
    gru = network(
        project, "gru", "gru_language_model", trained=False, task=task, config=config,
        tokenizer={"kind": "bpe", "vocabulary": 4000, "trained": False},
    )  # fmt: skip
    changes = CHATTING | {"dataset": "plays@1", "student": "gru@1", "training": {"epochs": 2}}
    found = foresee(project, **changes)["estimates"]
    assert found["windows"] == 80 * 5  # 3.23 characters a token
    assert found["steps"] == 2 * 13
    page = signed_in(erin).get(f"/p/{project.slug}/runs/new/?dataset=plays@1&student=gru@1")
    assert "about 400 windows" in page.content.decode()
    finished = make.run(
        project, task=task, dataset_version=plays, student=gru, status=Run.Status.FINISHED,
        summary={"steps": 23},
    )  # fmt: skip
    finished.config["training"] |= {"batch_size": 16}
    finished.save()
    known = foresee(project, **changes)["estimates"]  # as many as that run had, to half a batch
    assert known["windows"] == 23 * 16 - 8


def over(
    project: Project, version: DatasetVersion, *, steps: int, a_step: float, around: float,
    **fields: Any,
) -> Run:  # fmt: skip
    """A finished run whose steps took so long, and everything else `around`."""
    began = timezone.now() - timedelta(hours=1)
    inside = steps * a_step
    run = make.run(
        project, dataset_version=version, status=Run.Status.FINISHED, attempt=1,
        summary={"seconds": inside + around / 2, "steps": steps}, started_at=began,
        finished_at=began + timedelta(seconds=inside + around), **fields,
    )  # fmt: skip
    first = began.timestamp() + around / 2
    points = [
        Measured("train/loss", step, 1.0, first + step * a_step) for step in range(1, steps + 1)
    ]
    metrics.append(run, points)
    return run


def test_time_is_that_of_runs_like_it_by_steps_and_what_is_around_them(
    project: Project, pair: DatasetVersion
) -> None:
    guessed = foresee(project)["estimates"]
    assert "a rough guess" in guessed["based_on"]["time"]
    over(project, pair, student=network(project, "bag", "mlp"), steps=9, a_step=0.01, around=40.0)
    slower = foresee(project)["estimates"]  # as another run here shows, whatever it trained
    assert slower["seconds"] - guessed["seconds"] == pytest.approx(36.0)
    tiny = ModelVersion.objects.get(model__name="tiny")
    run = over(project, pair, student=tiny, steps=100, a_step=0.01, around=6.0)
    known = foresee(project)["estimates"]  # 9 steps
    assert known["seconds"] == pytest.approx(6.0 + 9 * 0.01, abs=0.1)
    low, high = known["seconds_range"]
    assert 2.0 <= low < known["seconds"] < high
    assert f"from run {run.number}: 10 ms a step, 6 s around" in known["based_on"]["time"]
    alike = {"epochs": 600, "batch_size": 16}  # as that run's
    longer = foresee(project, training=alike)["estimates"]
    assert longer["seconds"] == pytest.approx(6.0 + 600 * 5 * 0.01)


def test_time_counts_the_control_and_a_teacher_that_was_not_asked_before(
    project: Project, pair: DatasetVersion
) -> None:
    tiny = ModelVersion.objects.get(model__name="tiny")
    over(project, pair, student=tiny, steps=100, a_step=0.01, around=6.0)
    soft = {"losses": [{"kind": "soft_targets", "weight": 1.0}], "teachers": ["one@1"]}
    alone = foresee(project, **soft, control=False)["estimates"]
    assert "how long one@1 takes to answer is not known yet" in alone["based_on"]["time"]
    both = foresee(project, **soft, control=True)["estimates"]
    assert both["seconds"] == pytest.approx(2 * alone["seconds"])
    assert "its control included" in both["based_on"]["time"]
    make.gate(ModelVersion.objects.get(model__name="one"), pair)  # 900 rows a second
    gated = foresee(project, **soft, control=False)["estimates"]
    assert gated["seconds"] - alone["seconds"] == pytest.approx(80 / 900)


def test_a_step_of_a_small_network_takes_no_less_where_it_is_smaller_still(
    project: Project, pair: DatasetVersion
) -> None:
    large = network(project, "large", trained=False, parameters=200_000)
    network(project, "small", trained=False, parameters=1_000)
    over(project, pair, student=large, steps=100, a_step=0.01, around=3.0)
    longest = {"epochs": 1000, "batch_size": 16}
    small = foresee(project, student="small@1", training=longest)["estimates"]
    assert small["seconds"] > 3.0 + 0.1 * 5000 * 0.01  # not a two-hundredth of it


def test_no_run_is_said_to_take_less_than_its_start(project: Project, pair: DatasetVersion) -> None:
    tiny = ModelVersion.objects.get(model__name="tiny")
    over(project, pair, student=tiny, steps=100, a_step=0.001, around=0.1)
    found = foresee(project)["estimates"]
    assert min(found["seconds"], *found["seconds_range"]) >= 2.0


def worker(**machine: Any) -> Worker:
    return Worker.objects.create(
        name="m:1", host="m", pid=1, queues=["default"], machine=machine,
        load={"disk_free_bytes": machine.pop("free", 1 << 40)}, seen_at=timezone.now(),
    )  # fmt: skip


def test_machines_that_are_too_small_are_told(project: Project, pair: DatasetVersion) -> None:
    (said,) = foresee(project)["warnings"]
    assert "No worker serves the queue default now" in said
    one = worker(memory_bytes=100 << 20, free=1000)
    said = " ".join(foresee(project)["warnings"])
    assert "the largest worker of its queue has 0.1 GB" in said
    assert "Free stored teacher answers" in said
    assert "asks for 2 GPUs" in " ".join(foresee(project, resources={"gpus": 2})["warnings"])
    one.machine = {"memory_bytes": 1 << 40}
    one.load = {"disk_free_bytes": 1 << 40}
    one.save()
    assert foresee(project)["warnings"] == []
    Worker.objects.update(seen_at=timezone.now() - timedelta(hours=1))
    assert "No worker" in foresee(project)["warnings"][0]


def test_a_frozen_backbone_without_weights_is_warned_of(
    project: Project, pair: DatasetVersion
) -> None:
    said = " ".join(foresee(project, training={"freeze": "backbone"})["warnings"])
    assert "frozen, its backbone stays as it is drawn" in said
    assert "frozen" not in " ".join(foresee(project)["warnings"])


def test_preflight_through_rest(
    project: Project, pair: DatasetVersion, erin: User, vera: User
) -> None:
    address = f"/api/v1/projects/{project.slug}/runs/preflight/"
    answer = api_of(erin).post(address, asked(teachers=["one@1"]))
    assert answer.status_code == 200
    said = answer.json()
    assert said["config"]["dataset"] == "tickets@1"
    assert set(said["estimates"]) == {
        "memory_bytes", "disk_bytes", "steps", "windows", "seconds", "seconds_range", "based_on",
    }  # fmt: skip
    assert not Run.objects.exists()
    wrong = api_of(erin).post(address, asked(losses=[{"kind": "attention_maps", "weight": 1}]))
    assert wrong.status_code == 400
    assert api_of(vera).post(address, asked()).status_code == 403


def test_the_form_shows_what_a_run_takes_and_warns_of_a_weak_teacher(
    project: Project, pair: DatasetVersion, erin: User
) -> None:
    make.gate(ModelVersion.objects.get(model__name="one"), pair, accuracy=0.61)
    make.run(
        project, dataset_version=pair, status=Run.Status.FINISHED,
        student=ModelVersion.objects.get(model__name="tiny"),
        summary={"seconds": 9.0, "selection_metric": "val/accuracy", "best_value": 0.88},
    )  # fmt: skip
    page = f"/p/{project.slug}/runs/new/?dataset=tickets@1&student=tiny@1&teacher=one@1"
    text = signed_in(erin).get(page).content.decode()
    assert "Memory, about" in text
    assert "Time, about" in text
    assert "one@1 scores 61.0 % accuracy on validation rows" in text
