"""What cannot be trained is refused before it is queued."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.http import QueryDict

from distillhub.lib import storage
from distillhub.lib.errors import Invalid
from projects.models import DatasetVersion, ModelVersion, Project
from tests import make
from tests.training.conftest import asked
from tests.training.known_models import (
    CHATTING,
    FILES,
    HIDDEN,
    LABELS,
    TOKENS,
    data,
    foresee,
    network,
)
from training.forms.run import RunDraft
from training.services import launching

pytestmark = pytest.mark.django_db


def faults(project: Project, **changes: Any) -> dict[str, list[str]]:
    with pytest.raises(Invalid) as refused:
        launching.preview(project=project, configuration=asked(**changes))
    return {name: list(found) for name, found in refused.value.fields.items()}


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
    launching.preview(project=project, configuration=asked(scheme="early_exits", student="deep@1"))


def test_a_term_without_weight_is_not_held_against_anybody(project: Project) -> None:
    data(project)
    network(project, "tiny", trained=False)
    network(project, "one", "fnet")
    terms = [
        {"kind": "soft_targets", "weight": 1.0},
        {"kind": "attention_maps", "weight": 0.0},
    ]
    launching.preview(project=project, configuration=asked(teachers=["one@1"], losses=terms))


def test_a_student_with_weights_reads_its_teachers_tokens(project: Project) -> None:
    data(project)
    network(project, "tiny", tokenizer=TOKENS | {"sha256": "b" * 64})
    network(project, "one")
    found = faults(project, teachers=["one@1"], losses=HIDDEN)
    assert "takes over its teacher's tokenizer" in found["student"][0]
    soft = [{"kind": "soft_targets", "weight": 1.0}]
    launching.preview(project=project, configuration=asked(teachers=["one@1"], losses=soft))


def test_tokenizers_are_told_apart_by_size_where_no_digest_is_known(project: Project) -> None:
    data(project)
    plain = {"kind": "wordpiece", "vocabulary": 500, "trained": True}
    network(project, "tiny", tokenizer=plain)
    network(project, "one")
    launching.preview(project=project, configuration=asked(teachers=["one@1"], losses=HIDDEN))
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
    launching.preview(project=project, configuration=asked(**CHATTING | {"student": "easy@1"}))


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
    launching.preview(project=project, configuration=asked(teachers=["alike@1"], **changes))
    soft = changes | {"losses": [{"kind": "soft_targets", "weight": 1.0}]}
    launching.preview(project=project, configuration=asked(teachers=["teacher@1"], **soft))
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
    launching.preview(
        project=project, configuration=asked(student="coarse@1", losses=mean, **changes)
    )


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
    launching.preview(project=project, configuration=asked(scheme=routed("who"), **changes))


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
    launching.preview(project=project, configuration=asked(**fitting))
