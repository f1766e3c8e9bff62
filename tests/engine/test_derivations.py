"""Laws that every way to make a student of a teacher keeps because it is registered."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine import jobs
from tests.engine.test_architectures import LABELS, built, prepared, some_inputs
from training.engine import alterations, data, inspection, language, lora, networks, options
from training.engine.derivations import (
    DERIVATIONS,
    Derivation,
    Example,
    derive,
    examples,
    keep_layers,
    structure,
)
from training.engine.derivations.narrow import projection
from training.engine.errors import ConfigError, ModelError
from training.engine.job_config import DatasetInput
from training.engine.networks import Network
from training.engine.students import ARCHITECTURES
from training.engine.tokenization import TextPreprocessing
from training.engine.words import WordPreprocessing

pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")

IMAGE, TEXT = "image-classification", "text-classification"
TOKENS, VECTORS, WRITING = "token-classification", "feature-extraction", "text-generation"
#: Of those whose ordinary size has too few layers, or layers of too many widths, to leave any out.
DEEPER: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [12, 12, 12]},
    "tabular_mlp": {"hidden": [12, 12, 12]},
    "small_convnet": {"channels": [6, 6, 6], "hidden": 0},
    "spectrogram_convnet": {"channels": [1, 1, 1]},
    "gru_language_model": {"layers": 2, "dim": 8, "hidden": 16},
    "bilstm": {"layers": 2, "dim": 8, "hidden": 8},
    **{key: {"depths": [2, 1, 2, 1]} for key in ("resnet", "regnet", "convnext", "convnextv2")},
}
SOME = {
    *("mlp", "small_convnet", "text_cnn", "bag_of_embeddings", "bert", "distilbert", "gpt2"),
    *("llama", "vit", "resnet", "wav2vec2", "llama-lm", "bilstm", "bert-tokens"),
    "bert-embedding",
}
CASES = [
    pytest.param(
        method,
        one.key,
        marks=() if one.key in SOME else pytest.mark.slow,
        id=f"{method.key}-{one.key}",
    )
    for method in DERIVATIONS
    for one in ARCHITECTURES
    # Of a model type for several tasks the body is the same: classification stands for all.
    if not method.refusal(one.key)
    and (one.key in SOME or not {TOKENS, VECTORS} & set(one.tasks) or one.kind == "small")
]


def teacher_of(method: type[Derivation], key: str) -> Network:
    """Made once: a derivation leaves its teacher as it is, which the first law proves."""
    return _teacher(key, method.key == "keep_layers")


@functools.cache
def _teacher(key: str, is_deep: bool) -> Network:
    deeper = DEEPER.get(key, {}) if is_deep else {}
    architecture = ARCHITECTURES[key]
    task = architecture.tasks[0]
    config, _ = options.check(options.describe(architecture.Options), deeper)
    torch.manual_seed(0)
    if task == WRITING:
        seen = language.learn(["the cat sat on the mat"], architecture.wished_language(config))
        return networks.draw(key, key, config, task, (), seen)
    if task == VECTORS:
        plain = built("bert").preprocessing
        return networks.draw(key, key, config, task, (), plain, "embedding")
    if task == TOKENS:
        read = built("bert").preprocessing
        assert isinstance(read, TextPreprocessing)
        labels = ("other", "name")
        named = WordPreprocessing(
            tokenizer=read.tokenizer, max_length=read.max_length, pad=read.pad, names=labels
        )
        return networks.draw(key, key, config, task, labels, named)
    if not deeper:
        return built(key)
    return networks.draw(key, key, config, task, LABELS, prepared(architecture, config))


def inputs_of(network: Network) -> dict[str, torch.Tensor]:
    if network.task != WRITING:
        return some_inputs(network)
    ids = torch.randint(4, 20, (4, 7), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def answers(network: Network, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    network.module.eval()
    with torch.inference_mode():
        said: torch.Tensor = network.module(**inputs)
    return said


@pytest.mark.parametrize(("method", "key"), CASES)
def test_a_student_is_smaller_opens_again_learns_and_leaves_its_teacher_alone(
    method: type[Derivation], key: str, tmp_path: Path
) -> None:
    teacher = teacher_of(method, key)
    before = {name: value.clone() for name, value in teacher.module.state_dict().items()}
    inputs = inputs_of(teacher)
    derived = derive(method.key, {}, teacher, name="small@1")
    student = derived.network

    assert student.parameters < teacher.parameters
    assert (student.name, student.task, student.labels) == ("small@1", teacher.task, teacher.labels)
    assert derived.said.strip(" .") == derived.said
    assert " of " in derived.said

    said = answers(student, inputs)
    theirs = answers(teacher, inputs)
    narrower = teacher.task == VECTORS and method.key == "narrow"  # its vector is its width
    assert said.shape == (theirs[..., : student.width] if narrower else theirs).shape
    networks.save(student, tmp_path / "model")
    again = networks.load("small@1", tmp_path / "model", student.task)
    assert torch.allclose(answers(again, inputs), said, rtol=1e-4, atol=1e-5)
    assert (again.config, again.parameters) == (student.config, student.parameters)

    student.module.train()
    student.module(**inputs).logsumexp(-1).sum().backward()
    idle = [
        name
        for name, weight in student.module.named_parameters()
        if weight.requires_grad
        and weight.grad is None
        and "mask" not in name
        # A vector is the mean of the last layer; what the library makes of it besides is not asked.
        and not (teacher.task == VECTORS and "pooler" in name)
    ]
    assert idle == []

    now = teacher.module.state_dict()
    assert before.keys() == now.keys()
    assert all(torch.equal(before[name], now[name]) for name in before)


@pytest.mark.parametrize(
    ("method", "key"),
    [
        pytest.param(method, key, id=f"{method.key}-{key}")
        for method in DERIVATIONS
        for key in ("bert", "small_convnet", "llama")
        if not method.refusal(key)
    ],
)
def test_the_same_teacher_makes_the_same_student_whatever_was_drawn_before(
    method: type[Derivation], key: str
) -> None:
    teacher = teacher_of(method, key)
    shown = [Example(inputs_of(teacher), torch.tensor([0, 1, 2, -1]))]
    made = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        made.append(derive(method.key, {}, teacher, name="s", examples=shown).network)
    one, two = (student.module.state_dict() for student in made)
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("method", list(DERIVATIONS), ids=lambda one: one.key)
def test_every_architecture_is_made_smaller_or_refused_with_a_reason(
    method: type[Derivation],
) -> None:
    for architecture in ARCHITECTURES:
        refusal = method.refusal(architecture.key)
        assert not refusal or (refusal.endswith(".") and method.label in refusal)
    described = method.described()
    known = {one.key for one in ARCHITECTURES}
    assert set(described["architectures"]) | set(described["refusals"]) <= known
    assert not set(described["architectures"]) & set(described["refusals"])


@pytest.mark.parametrize(
    ("method", "key", "values", "sentence"),
    [
        ("keep_layers", "albert", {}, "again and again"),
        ("keep_layers", "bert", {"count": 2}, "options.count: The teacher has 2 layers"),
        ("keep_layers", "bert", {"rule": "listed"}, "options.layers: List the layers"),
        ("keep_layers", "bert", {"rule": "listed", "layers": [0, 7]}, "there is no 7"),
        ("keep_layers", "mlp", {}, "The teacher has one layer"),
        ("keep_layers", "small_convnet", {}, "prune its channels"),
        ("keep_layers", "spectrogram_convnet", {}, "only between layers of one width"),
        ("keep_layers", "tabular_mlp", {"rule": "first"}, "keep the last layer too"),
        ("keep_layers", "resnet", {}, "Each of its stages has one layer"),
        ("keep_layers", "wavlm", {"rule": "last"}, "keep layer 0"),
        ("prune_heads", "gpt2", {}, "queries, keys and values are one layer"),
        ("prune_heads", "mlp", {}, "it has no attention"),
        ("prune_heads", "bert", {"share": 0}, "options.share: It must be between"),
        ("prune_channels", "bag_of_embeddings", {}, "make it narrower"),
        ("low_rank", "bag_of_embeddings", {}, "its only layer is the last one"),
        ("low_rank", "mlp", {"share": 0.9}, "No layer of it would be smaller"),
        ("narrow", "small_convnet", {}, "prune those"),
        ("narrow", "wav2vec2", {}, "grouped convolution"),
        ("melt", "bert", {}, "It must be one of keep_layers"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence(
    method: str, key: str, values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises((ConfigError, ModelError), match=sentence):
        derive(method, values, built(key), name="s")


def test_a_bag_that_answers_vectors_keeps_its_width() -> None:
    plain = built("bag_of_embeddings")
    config, seen = plain.config, plain.preprocessing
    teacher = networks.draw("bag", "bag_of_embeddings", config, VECTORS, (), seen, "embedding")
    with pytest.raises(ModelError, match="draw a narrower one"):
        derive("narrow", {}, teacher, name="s")


def test_layers_are_spread_as_distilbert_took_them() -> None:
    kept = keep_layers.chosen(keep_layers.Options(), 12)
    assert kept == [0, 2, 4, 7, 9, 11]
    assert keep_layers.chosen(keep_layers.Options(rule="last", count=2), 6) == [4, 5]
    assert keep_layers.chosen(keep_layers.Options(rule="listed", layers=(5, 0, 5)), 6) == [0, 5]


def test_kept_layers_are_the_teachers_own() -> None:
    teacher = built("vit")
    student = derive("keep_layers", {"rule": "listed", "layers": [1, 3]}, teacher, name="s").network
    ours, theirs = student.module.state_dict(), teacher.module.state_dict()
    name = "model.vit.layers.{}.mlp.fc1.weight"
    assert torch.equal(ours[name.format(0)], theirs[name.format(1)])
    assert torch.equal(ours[name.format(1)], theirs[name.format(3)])
    assert student.config["num_hidden_layers"] == 2


def test_pruned_bert_answers_as_if_its_heads_were_silent() -> None:
    """Cutting a head out is the same as giving the output no weight for it."""
    teacher = built("bert")
    student = derive("prune_heads", {"share": 0.5}, teacher, name="s").network
    inputs = some_inputs(teacher)
    silent = teacher.module.state_dict()
    for name in silent:
        if not name.endswith("attention.output.dense.weight"):
            continue
        kept = student.module.state_dict()[name]
        first = torch.equal(silent[name][:, : kept.shape[1]], kept)
        silent[name][:, kept.shape[1] :] *= 0 if first else 1
        silent[name][:, : kept.shape[1]] *= 1 if first else 0
    assert torch.allclose(answers(student, inputs), answers(teacher, inputs), atol=1e-5)
    assert alterations.of(student.config)  # BERT's configuration has no words for it


@pytest.mark.parametrize("key", ["mlp", "small_convnet", "text_cnn", "bert", "llama", "resnet"])
def test_channels_that_are_never_read_are_the_ones_to_go(key: str) -> None:
    """Half of the channels silenced on both sides: without them the answers are the same."""
    teacher = built(key)
    groups = structure.channels(teacher)
    state = teacher.module.state_dict()
    for group in groups:
        silent = torch.arange(group.size) % 2 == 1
        for part in group.parts:
            end = part.start + group.size * part.each
            for kind in ("weight", "bias"):
                weight = state.get(f"{part.layer}.{kind}")
                if weight is None or (kind == "bias" and part.axis == "inputs"):
                    continue
                rows = weight if part.axis == "outputs" else weight.transpose(0, 1)
                if weight.ndim == 1 and part.axis == "inputs":
                    continue
                rows[part.start : end][silent.repeat_interleave(part.each)] = 0
    inputs = some_inputs(teacher)
    for shown in ((), (Example(inputs),)):
        student = derive("prune_channels", {}, teacher, name="s", examples=shown).network
        assert torch.allclose(answers(student, inputs), answers(teacher, inputs), atol=1e-4)


def test_a_factorised_layer_is_the_best_of_its_rank() -> None:
    teacher = built("mlp")
    student = derive("low_rank", {"share": 0.25}, teacher, name="s").network
    layer: Any = student.module.get_submodule("layers.1")
    product = layer[1].weight @ layer[0].weight
    weight = teacher.module.get_submodule("layers.1").get_parameter("weight").detach()
    lost = torch.linalg.svdvals(weight)[layer[0].out_features :].square().sum().sqrt()
    assert torch.allclose((weight - product).norm(), lost, rtol=1e-4)


def test_a_projection_of_all_dimensions_loses_nothing() -> None:
    torch.manual_seed(0)
    made, read = torch.randn(40, 6, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    down, up = projection(made.T @ made, read.T @ read, 6)
    assert torch.allclose((made @ down) @ (read @ up).T, made @ read.T, atol=1e-6)


def test_five_directions_are_enough_for_a_head_of_five_labels() -> None:
    torch.manual_seed(0)
    made, read = torch.randn(40, 16, dtype=torch.float64), torch.randn(5, 16, dtype=torch.float64)
    down, up = projection(made.T @ made, read.T @ read, 5)
    lost = (made @ down) @ (read @ up).T - made @ read.T
    assert lost.norm() < 0.05 * (made @ read.T).norm()


def test_altered_layers_may_be_made_smaller_once_more_but_not_left_out() -> None:
    teacher = built("bert")
    fewer = derive("prune_heads", {}, teacher, name="a").network
    slim = derive("prune_channels", {}, fewer, name="b").network
    thin = derive("low_rank", {}, slim, name="c").network
    assert fewer.parameters > slim.parameters > thin.parameters
    assert answers(thin, some_inputs(teacher)).isfinite().all()
    with pytest.raises(ModelError, match="Keep layers must come first"):
        derive("keep_layers", {}, thin, name="d")


def test_an_altered_model_takes_new_labels_and_nothing_that_is_not_its_own(tmp_path: Path) -> None:
    thin = derive("low_rank", {}, built("xlm-roberta"), name="a").network
    networks.save(thin, tmp_path / "model")
    other = alterations.of(thin.config)
    module = networks._transformers(tmp_path / "model", TEXT, 5, thin.config)
    assert module(**some_inputs(thin)).shape == (4, 5)
    for wrong in ({"model.nowhere": {"rank": 2}}, {next(iter(other)): {"rank": 0}}):
        with pytest.raises(ModelError, match="altered layer"):
            networks._transformers(tmp_path / "model", TEXT, 3, {"altered": wrong})
    fewer = dict(list(other.items())[1:])
    with pytest.raises(ModelError, match="do not fit"):
        networks._transformers(tmp_path / "model", TEXT, 3, {"altered": fewer})


# With a trained teacher -----------------------------------------------------------------------

SHALLOW = {"vocab_size": 60, "max_length": 16, "hidden_size": 32, "intermediate_size": 64}
TEACHERS: dict[str, tuple[str, jobs.JSON, jobs.JSON]] = {
    "llama": (
        TEXT,
        {**SHALLOW, "num_hidden_layers": 4, "num_attention_heads": 4},
        {"epochs": 6, "learning_rate": 3e-3},
    ),
    "bag_of_embeddings": (TEXT, {**jobs.SMALL_BAG, "dim": 16, "bigrams": 50}, {"epochs": 6}),
    "text_cnn": (
        TEXT,
        {"dim": 16, "filters": 16, "vocabulary": 60},
        {"epochs": 6, "learning_rate": 1e-2},
    ),
    "small_convnet": (
        IMAGE,
        {"channels": [8, 16], "hidden": 16},
        {"epochs": 5, "learning_rate": 1e-2},
    ),
    "mlp": (IMAGE, {"hidden": [32, 32, 32]}, {"epochs": 6, "learning_rate": 1e-2}),
}


Taught = tuple[Network, data.Batch, list[Example]]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Taught]:
    """Of each architecture a trained teacher, rows to ask it, and a few to show a derivation."""
    home = tmp_path_factory.mktemp("taught")
    described = {
        TEXT: jobs.texts(home / "texts.parquet", rows=240),
        IMAGE: jobs.images(home / "images.parquet", rows=150),
    }
    found = {}
    for key, (task, config, training) in TEACHERS.items():
        folder = jobs.write(
            home / key,
            described[task],
            task=task,
            architecture=key,
            options=config,
            training=training,
        )
        jobs.run(folder)
        teacher = networks.load(f"{key}@1", folder / "output" / "model", task)
        said = DatasetInput(**{**described[task], "labels": tuple(jobs.LABELS)})
        rows = data.open_dataset(home, said).splits
        inputs = teacher.preprocessing.prepare(home / said.path, home / f"{key}-seen")
        batch = inputs.batch(np.concatenate([rows["train"], rows["test"]]))
        shown = examples.of(teacher, said, home, home=home / f"{key}-few", rows=64)
        found[key] = (teacher, batch, shown)
    return found


MILD: list[tuple[str, str, jobs.JSON]] = [
    ("keep_layers", "llama", {"count": 3}),
    ("prune_heads", "llama", {"share": 0.75}),
    ("prune_channels", "llama", {"share": 0.75}),
    ("low_rank", "llama", {"share": 0.4}),
    ("narrow", "llama", {"share": 0.75}),
    ("narrow", "bag_of_embeddings", {"share": 0.5}),
    ("narrow", "text_cnn", {"share": 0.5}),
    ("prune_channels", "text_cnn", {"share": 0.75}),
    ("low_rank", "text_cnn", {"share": 0.4}),
    ("prune_channels", "small_convnet", {"share": 0.75}),
    ("low_rank", "small_convnet", {"share": 0.4}),
    ("prune_channels", "mlp", {"share": 0.75}),
    ("low_rank", "mlp", {"share": 0.4}),
]


@pytest.mark.parametrize("by_rows", [False, True], ids=["by weights", "by rows"])
@pytest.mark.parametrize(("method", "key", "values"), MILD)
def test_a_mildly_smaller_student_agrees_with_its_teacher_before_it_is_trained(
    taught: dict[str, Taught], method: str, key: str, values: jobs.JSON, by_rows: bool
) -> None:
    teacher, inputs, shown = taught[key]
    student = derive(method, values, teacher, name="s", examples=shown if by_rows else ()).network
    theirs = answers(teacher, inputs).argmax(-1)
    agreement = float((answers(student, inputs).argmax(-1) == theirs).float().mean())
    most = float(theirs.bincount().max()) / len(theirs)  # what always saying one label reaches
    assert agreement > 0.9 > most


# As a job ------------------------------------------------------------------------------------


def test_a_student_is_made_counted_and_described_when_it_is_inspected(
    taught: dict[str, Taught], tmp_path: Path
) -> None:
    teacher = taught["llama"][0]
    networks.save(teacher, tmp_path / "job" / "teacher")
    dataset = jobs.texts(tmp_path / "job" / "dataset.parquet") | {"path": "dataset.parquet"}
    source = {"kind": "derived", "method": "prune_heads", "options": {"share": 0.5}}
    said = {
        "task": TEXT,
        "source": source,
        "teacher": {"name": "big@2", "path": "teacher"},
        "dataset": dataset,
    }
    (tmp_path / "job" / "config.json").write_text(json.dumps(said))
    found = inspection.inspect(tmp_path / "job")
    assert found["made"] == {
        "said": "2 of 4 heads of each layer",
        "teacher_parameters": teacher.parameters,
        "rows": 96,
    }
    assert found["parameters"] < teacher.parameters
    assert found["labels"] == jobs.LABELS
    assert found["config"]["num_attention_heads"] == 2
    assert found["folder"] == "model"
    assert {one["name"] for one in found["files"]} >= {"config.json", "distillhub.json"}
    student = networks.load("small@1", tmp_path / "job" / "model", TEXT)
    assert student.parameters == found["parameters"]


def test_rows_with_labels_the_teacher_does_not_know_still_say_what_matters(
    taught: dict[str, Taught], tmp_path: Path
) -> None:
    said = jobs.texts(tmp_path / "d.parquet") | {"labels": ("one", "two")}
    shown = examples.of(taught["text_cnn"][0], DatasetInput(**said), tmp_path, home=tmp_path / "h")
    assert {one.labels for one in shown} == {None}
    known = examples.of(
        taught["text_cnn"][0],
        DatasetInput(**{**said, "labels": tuple(reversed(jobs.LABELS))}),
        tmp_path,
        home=tmp_path / "i",
        rows=40,
    )
    assert [len(one.labels) for one in known if one.labels is not None] == [32, 8]


# Adapters ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["bert", "gpt2", "vit", "wavlm", "whisper", "xlm-roberta"])
def test_an_adapter_begins_as_nothing_learns_alone_and_ends_in_the_weights(
    key: str, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    network = built(key)
    inputs = some_inputs(network)
    names = list(network.module.state_dict())
    before = answers(network, inputs)
    torch.manual_seed(3)
    assert lora.wrap(network.module, 4) is network.module
    assert torch.allclose(answers(network, inputs), before, atol=1e-6)

    learning = [one for one in network.module.parameters() if one.requires_grad]
    assert sum(one.numel() for one in learning) < 0.15 * network.parameters
    optimizer = torch.optim.AdamW(learning, lr=1e-2)
    for _ in range(2):
        network.module(**inputs).logsumexp(-1).sum().backward()
        assert all(one.grad is not None for one in learning)
        optimizer.step()
        optimizer.zero_grad()

    learned = answers(network, inputs)
    assert lora.merge(network.module) is network.module
    assert list(network.module.state_dict()) == names
    assert torch.allclose(answers(network, inputs), learned, atol=1e-4)
    assert not torch.allclose(learned, before, atol=1e-3)
    assert all(one.requires_grad for one in network.module.parameters() if one.ndim > 1)
    networks.save(network, tmp_path / "model")
    again = networks.load(key, tmp_path / "model", network.task)
    assert torch.allclose(answers(again, inputs), learned, rtol=1e-3, atol=1e-4)


def test_adapters_are_drawn_by_the_seed_and_resume_from_a_state() -> None:
    pytest.importorskip("peft")
    states = []
    for seed in (5, 5, 6):
        network = built("bert")
        torch.manual_seed(seed)
        states.append(lora.wrap(network.module, 2).state_dict())
    same, other = (
        [torch.equal(states[0][name], one[name]) for name in states[0]] for one in states[1:]
    )
    assert all(same)
    assert not all(other)


def test_what_takes_no_adapter_is_refused_and_merging_it_changes_nothing() -> None:
    pytest.importorskip("peft")
    for key in ("mlp", "resnet"):
        network = built(key)
        with pytest.raises(ConfigError, match=r"training\.lora_rank"):
            lora.wrap(network.module, 4)
        before = answers(network, some_inputs(network))
        assert torch.equal(answers(network, some_inputs(network)), before)
        assert lora.merge(network.module) is network.module
