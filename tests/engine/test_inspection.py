"""What a model is; and everything that is no model is refused."""

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.engine import jobs
from tests.engine.hub_server import COMMIT, Hub
from training.engine import inspection, networks
from training.engine.errors import ConfigError, ModelError, OutOfMemoryError
from training.engine.teachers import hub

TEXT, IMAGE = "text-classification", "image-classification"


def inspected(folder: Path, **said: Any) -> jobs.JSON:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"task": TEXT, "source": {}, **said}))
    return inspection.inspect(folder)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT classifier as Hugging Face keeps it: no file of ours."""
    from transformers import BertConfig, BertForSequenceClassification

    from training.engine import tokenization

    folder = tmp_path_factory.mktemp("checkpoint") / "bert"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=32,
        id2label=dict(enumerate(jobs.LABELS)),
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    wish = tokenization.Wish(kind="wordpiece", vocabulary=40, framed=True)
    tokenization.learn(lambda: jobs.LABELS, wish).save(folder)
    return folder


@pytest.fixture
def copied(checkpoint: Path, tmp_path: Path) -> Path:
    """The checkpoint in `tmp_path/model`, to be spoilt."""
    shutil.copytree(checkpoint, tmp_path / "model")
    return tmp_path / "model"


def test_an_architecture_is_counted_without_being_held(tmp_path: Path) -> None:
    found = inspected(tmp_path, architecture="bag_of_embeddings", config={"vocabulary": 1000})
    assert found["parameters"] == 1000 * 64 + 64 * 10 + 10
    assert found["config"]["dropout"] == 0.3
    assert found["assumes"] == "10 labels and a vocabulary of 1,000"
    assert found["files"] == []


def test_any_transformers_architecture_is_counted(tmp_path: Path) -> None:
    found = inspected(
        tmp_path, task=IMAGE, architecture="vit", config={"hidden_size": 32, "hidden_act": "relu"}
    )
    assert 10_000 < found["parameters"] < 100_000
    assert found["config"]["hidden_act"] == "relu"


def test_an_architecture_larger_than_the_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemoryError, match="GB free"):
        inspected(
            tmp_path, architecture="bag_of_embeddings",
            config={"dim": 4096, "vocabulary": 500_000, "bigrams": 4_000_000},
        )  # fmt: skip


def test_a_bad_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.dim"):
        inspected(tmp_path, architecture="bag_of_embeddings", config={"dim": -1})


def test_a_checkpoint_of_hugging_face_is_understood(copied: Path, checkpoint: Path) -> None:
    found = inspected(copied.parent, path="model")
    assert found["architecture"] == "bert"
    assert found["labels"] == jobs.LABELS
    assert found["parameters"] == networks.load("x", checkpoint, TEXT).parameters
    assert found["tokenizer"]["kind"] == "wordpiece"
    assert {one["name"] for one in found["files"]} >= {"config.json", "model.safetensors"}


def saying(folder: Path, **said: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | said))


@pytest.mark.parametrize(
    ("said", "problem", "labels"),
    [
        ({"problem_type": "multi_label_classification"}, "multi_label", jobs.LABELS),
        ({"problem_type": "single_label_classification"}, "single_label", jobs.LABELS),
        ({"problem_type": None}, "single_label", jobs.LABELS),
        ({"problem_type": "regression", "id2label": {"0": "LABEL_0"}}, "regression", []),
        ({"id2label": {"0": "price"}}, "regression", []),
        ({"id2label": {"0": "x"}, "architectures": ["BertForMaskedLM"]}, "single_label", []),
    ],
)
def test_a_checkpoint_answers_what_its_configuration_says(
    copied: Path, said: dict[str, Any], problem: str, labels: list[str]
) -> None:
    saying(copied, **said)
    found = inspected(copied.parent, path="model")
    assert (found["problem"], found["labels"]) == (problem, labels)
    network = networks.load("x", copied, TEXT)
    assert network.problem == problem
    assert network.outputs == len(said.get("id2label") or jobs.LABELS)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"problem_type": "regression"}, "answers 3 numbers at once"),
        ({"problem_type": "ranking"}, "problem_type 'ranking'"),
    ],
)
def test_what_it_answers_must_be_known(copied: Path, said: dict[str, Any], sentence: str) -> None:
    saying(copied, **said)
    with pytest.raises(ModelError, match=sentence):
        inspected(copied.parent, path="model")


def test_what_a_model_answers_is_in_the_folder_that_others_read(
    tmp_path: Path, copied: Path
) -> None:
    saying(copied, problem_type="multi_label_classification")
    networks.save(networks.load("x", copied, TEXT), tmp_path / "out")
    (tmp_path / "out" / "distillhub.json").unlink()
    assert networks.load("x", tmp_path / "out", TEXT).problem == "multi_label"


def test_our_own_folder_is_understood(tmp_path: Path, teacher: Path) -> None:
    shutil.copytree(teacher, tmp_path / "model")
    found = inspected(tmp_path, path="model")
    assert found["architecture"] == "bag_of_embeddings"
    assert found["labels"] == jobs.LABELS


def test_a_checkpoint_can_teach_and_be_trained(
    tmp_path: Path, texts: jobs.JSON, checkpoint: Path
) -> None:
    tuned = jobs.write(tmp_path / "tuned", texts, path=str(checkpoint), training={"epochs": 1})
    jobs.run(tuned)
    model = tuned / "output" / "model"
    assert json.loads((model / "config.json").read_text())["model_type"] == "bert"
    taught = jobs.write(tmp_path / "taught", texts, teachers=[str(model)], training={"epochs": 1})
    summary = jobs.run(taught)[-1].summary  # type: ignore[union-attr]
    assert summary["teacher"]["name"] == "big@1"


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"w": torch.zeros(2)}, folder / "pytorch_model.bin")


def renamed_pickle(folder: Path) -> None:
    torch.save({"w": torch.zeros(2)}, folder / "model.safetensors")


def script(folder: Path) -> None:
    (folder / "modeling_bert.py").write_text("raise SystemExit")


def names_code(folder: Path) -> None:
    said = json.loads((folder / "config.json").read_text())
    said["auto_map"] = {"AutoModel": "modeling_bert.Bert"}
    (folder / "config.json").write_text(json.dumps(said))


def names_code_of_the_tokenizer(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["x.Y", null]}}')


def unknown_type(folder: Path) -> None:
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, "model_type": "timm_wrapper"}))


def too_many_layers(folder: Path) -> None:
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, "num_hidden_layers": 10**6}))


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def no_configuration(folder: Path) -> None:
    (folder / "config.json").unlink()


def other_weights(folder: Path) -> None:
    save_file({"nothing.here": torch.zeros(3)}, folder / "model.safetensors")


def nested(folder: Path) -> None:
    (folder / "config.json").write_text("[" * 100_000)


@pytest.mark.parametrize(
    "spoil",
    [
        pickled, renamed_pickle, script, names_code, names_code_of_the_tokenizer, unknown_type,
        too_many_layers, cut, no_configuration, other_weights, nested,
    ],
)  # fmt: skip
def test_what_is_no_plain_model_is_refused(copied: Path, spoil: Any) -> None:
    spoil(copied)
    with pytest.raises(ModelError) as caught:
        inspected(copied.parent, path="model")
    assert str(caught.value).rstrip().endswith((".", ")"))


@pytest.mark.slow
def test_the_command_writes_its_result_or_its_reason(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder, options in ((good, {"dim": 4}), (bad, {"dim": 0})):
        folder.mkdir()
        said = {"task": TEXT, "architecture": "text_cnn", "config": options, "source": {}}
        (folder / "config.json").write_text(json.dumps(said))
    both = [jobs.spawn(good, "inspect"), jobs.spawn(bad, "inspect")]
    assert [one.wait(timeout=240) for one in both] == [0, 1]
    assert json.loads((good / "result.json").read_text())["architecture"] == "text_cnn"
    failed = json.loads((bad / "result.json").read_text())["failed"]
    assert failed["code"] == "bad_configuration"
    assert "config.dim: It must be between 1 and 4096." in failed["sentence"]


def test_a_hub_repository_is_pinned_to_its_commit(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "repository"
    shutil.copytree(checkpoint, source)
    (source / "pytorch_model.bin").write_bytes(b"\x80\x02never")
    (source / "train.py").write_text("raise SystemExit")
    with Hub({"tiny/bert": source}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        found = inspected(
            tmp_path / "job", source={"kind": "hub", "id": "tiny/bert", "revision": "main"}
        )
        downloads = [one for one in server.asked if "/resolve/" in one]
    assert found["revision"] == COMMIT
    assert found["architecture"] == "bert"
    assert found["labels"] == jobs.LABELS
    assert {one["name"] for one in found["files"]} == {
        "config.json", "model.safetensors", "tokenizer.json",
    }  # fmt: skip
    assert all(COMMIT in one for one in downloads)
    assert not any(".bin" in one or ".py" in one for one in downloads)


def test_a_hub_repository_without_safetensors_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "repository"
    source.mkdir()
    (source / "config.json").write_text("{}")
    (source / "pytorch_model.bin").write_bytes(b"\x80\x02never")
    with Hub({"old/bert": source}) as server:
        with pytest.raises(ModelError, match="no safetensors"):
            hub.fetch("old/bert", "main", tmp_path / "model", endpoint=server.address)
        assert not any("/resolve/" in one for one in server.asked)


def test_what_the_hub_does_not_have_is_said_plainly(tmp_path: Path, checkpoint: Path) -> None:
    with Hub({"tiny/bert": checkpoint}) as server:
        with pytest.raises(ModelError, match="no public model"):
            hub.fetch("nobody/none", "main", tmp_path / "a", endpoint=server.address)
        with pytest.raises(ModelError, match="no revision v9"):
            hub.fetch("tiny/bert", "v9", tmp_path / "b", endpoint=server.address)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ModelError, match="did not answer"):
        hub.fetch("tiny/bert", "main", tmp_path / "c", endpoint=nobody)
    with pytest.raises(ModelError, match="is no Hugging Face id"):
        hub.fetch("../etc", "main", tmp_path / "d", endpoint=server.address)
