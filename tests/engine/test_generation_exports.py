"""Networks that write are shipped and made smaller like all others, and judged token by token."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from tests.engine import jobs, shipping, writings
from training.engine import few_bits, generation
from training.engine.alterations import is_transposed
from training.engine.compressors import COMPRESSORS, Material, tuning
from training.engine.compressors.quantisation_aware import QuantisationAware
from training.engine.errors import ModelError
from training.engine.exporters import EXPORTERS
from training.engine.exporters.instructions import README
from training.engine.networks import Place

TASK = "text-generation"
CPU = Place(torch.device("cpu"))
GRU, GPT, LLAMA = "gru_language_model", "gpt2-lm", "llama-lm"
SEEN: jobs.JSON = {"tokenizer": "character", "vocabulary": 64, "max_length": 16}
OPTIONS: dict[str, jobs.JSON] = {
    GRU: {**SEEN, "dim": 16, "hidden": 24},
    GPT: {**SEEN, "n_embd": 32, "n_layer": 1, "n_head": 2},
    LLAMA: {
        **SEEN, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 64,
    },
}  # fmt: skip
# Seconds for each graph of a transformer, so that only some are made of each.
FORMS = [
    (GRU, "safetensors"), (GRU, "onnx"), (GRU, "onnx-int8"), (GRU, "onnx-int8-static"),
    (GPT, "torch-export"), (GPT, "safetensors"),
    pytest.param(GPT, "onnx-int8", marks=pytest.mark.slow),
    pytest.param(LLAMA, "onnx", marks=pytest.mark.slow),
    pytest.param(LLAMA, "torch-export", marks=pytest.mark.slow),
]  # fmt: skip
CLOSE = {"onnx": 1e-4, "torch-export": 1e-4, "safetensors": 0.0}
TRAINS = [one.key for one in COMPRESSORS if one.trains and one.key != "quantisation-aware"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> jobs.JSON:
    return writings.texts(tmp_path_factory.mktemp("texts") / "texts.parquet", 40)


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory, written: jobs.JSON) -> Any:
    """`writer(architecture)`: the model folder of a small trained one, made once."""
    made: dict[str, Path] = {}

    def of(architecture: str) -> Path:
        if architecture not in made:
            folder = writings.write(
                tmp_path_factory.mktemp("writer"), written, architecture=architecture,
                options=OPTIONS[architecture], training={"epochs": 3},
            )  # fmt: skip
            jobs.run(folder)
            made[architecture] = folder / "output" / "model"
        return made[architecture]

    return of


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory, written: jobs.JSON, writer: Any) -> Any:
    made: dict[tuple[str, str], tuple[Path, jobs.JSON]] = {}

    def of(architecture: str, form: str) -> tuple[Path, jobs.JSON]:
        if (architecture, form) not in made:
            folder = tmp_path_factory.mktemp("export")
            report = shipping.ship(folder, writer(architecture), written, {"format": form})
            made[architecture, form] = (folder / "output", report)
        return made[architecture, form]

    return of


def network_of(folder: Path) -> Any:
    return shipping.load(folder, TASK)


def test_every_form_and_every_compressor_is_offered_for_texts_that_are_written() -> None:
    """But for bundles, whose program would have to sample."""
    left_out = [one.key for one in (*EXPORTERS, *COMPRESSORS) if TASK not in one.tasks]
    assert left_out == ["bundle"]


@pytest.mark.parametrize(("architecture", "form"), FORMS)
def test_what_was_written_foresees_as_the_network_did(
    shipped: Any, architecture: str, form: str
) -> None:
    folder, report = shipped(architecture, form)
    assert report["rows"] == 25  # windows of validation rows, and of no other
    assert report["tokens"] > report["rows"]
    assert report["agreement"] >= (1.0 if form in CLOSE else 0.9)
    if form in CLOSE:
        assert report["difference"]["max"] <= CLOSE[form]
    names = [one["name"] for one in report["metrics"]]
    assert names == ["bits_per_character", "perplexity", "token_accuracy"]
    assert report["metric"] == report["metrics"][0]
    for one in report["metrics"]:
        assert one["after"] == pytest.approx(one["before"], rel=0.05)
    assert "tokens as the model does" in report["sentence"] or not report["recommended"]
    assert report["places"] == 16
    for when in ("before", "after"):
        for size in ("1", "32"):
            assert report["latency_ms"][when][size]["median"] > 0
    assert report["size"]["after"] == (folder / EXPORTERS[form].weights).stat().st_size
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize(
    ("architecture", "form"),
    [(GRU, "onnx"), (GPT, "torch-export"), pytest.param(LLAMA, "onnx", marks=pytest.mark.slow)],
)
def test_rows_and_their_length_are_free_and_padding_behind_changes_nothing(
    shipped: Any, writer: Any, architecture: str, form: str
) -> None:
    folder, _ = shipped(architecture, form)
    network = network_of(writer(architecture))
    method = EXPORTERS[form]
    after = method(method.Options()).open(network, folder, 1)
    for rows, length in ((1, 1), (1, 7), (5, 2), (40, 16)):
        chance = torch.Generator().manual_seed(rows)
        ids = torch.randint(3, network.outputs, (rows, length), generator=chance)
        with torch.inference_mode():
            own, said = network.module(input_ids=ids), after(input_ids=ids)
        assert said.shape == (rows, length, network.outputs)
        np.testing.assert_allclose(said, own, atol=1e-4)
        if length > 2:
            padded = ids.clone()
            padded[:, length // 2 :] = 0
            with torch.inference_mode():
                again = after(input_ids=padded)
            np.testing.assert_allclose(again[:, : length // 2], said[:, : length // 2], atol=1e-5)


@pytest.mark.parametrize(("architecture", "form"), [(GRU, "onnx"), (GPT, "torch-export")])
def test_the_example_beside_it_writes_on_as_it_stands(
    shipped: Any,
    writer: Any,
    architecture: str,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, _ = shipped(architecture, form)
    text = (folder / README).read_text()
    lines = text[text.index("    import numpy") :].splitlines()
    monkeypatch.chdir(folder)
    exec(compile("\n".join(line.removeprefix("    ") for line in lines), README, "exec"), {})
    said = capsys.readouterr().out.strip()
    network = network_of(writer(architecture))
    ids = network.preprocessing.prompt("the")
    for _ in range(20):
        with torch.inference_mode():
            logits = network.module(input_ids=torch.tensor([ids[-16:]]))
        ids.append(int(logits[0, -1].argmax()))
    assert said == network.preprocessing.tokenizer.decode(ids).strip()


def test_an_onnx_graph_takes_token_ids_and_nothing_else(shipped: Any) -> None:
    folder, _ = shipped(GRU, "onnx")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    assert [(one.name, one.shape) for one in session.get_inputs()] == [
        ("input_ids", ["batch", "length"])
    ]
    assert session.get_outputs()[0].shape[:2] == ["batch", "length"]
    said = json.loads((folder / "export.json").read_text())
    assert [one["name"] for one in said["inputs"]] == ["input_ids"]


def test_the_loss_is_told_as_the_run_tells_it(shipped: Any, writer: Any, written: Any) -> None:
    """Bits, perplexity and accuracy over these rows are those of the evaluation."""
    _, report = shipped(GRU, "safetensors")
    network = network_of(writer(GRU))
    dataset = writings.opened(written)
    inputs = network.preprocessing.prepare(dataset.path, writer(GRU).parent / "again")
    divided = inputs.divided(dataset)
    judged = generation.judge(network, inputs, divided, divided.splits["validation"], CPU)
    scores = judged.scores(inputs.form)
    for one in report["metrics"]:
        assert one["before"] == pytest.approx(scores[one["name"]], rel=1e-5)
        assert math.isfinite(one["change"])


def test_a_graph_of_a_fixed_length_is_refused_by_name(
    tmp_path: Path, writer: Any, written: jobs.JSON
) -> None:
    with pytest.raises(ModelError, match="Export it as onnx"):
        shipping.ship(tmp_path, writer(GRU), written, {"format": "torch-export"})
    assert GRU in EXPORTERS["torch-export"].refusals


# -- made smaller ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TRAINS)
def test_what_is_made_smaller_is_trained_with_the_loss_of_its_task(
    tmp_path: Path, writer: Any, written: jobs.JSON, kind: str
) -> None:
    wish = {"format": "safetensors", "compress": {"kind": kind, "options": {"epochs": 2}}}
    report = shipping.ship(tmp_path, writer(GPT), written, wish)
    assert "Trained on labels, 2 epochs of" in report["said"]
    assert network_of(tmp_path / "output").parameters == report["parameters"]["after"]
    assert report["parameters"]["after"] <= report["parameters"]["before"]
    untrained = {**wish, "compress": {"kind": kind, "options": {"epochs": 0}}}
    before = shipping.ship(tmp_path / "untrained", writer(GPT), written, untrained)
    assert report["metric"]["after"] < before["metric"]["after"]


def test_a_teacher_speaks_where_there_is_one_and_its_answers_are_stored(
    tmp_path: Path, writer: Any, written: jobs.JSON
) -> None:
    wish = {
        "format": "safetensors",
        "compress": {"kind": "magnitude-pruning", "options": {"share": 0.7, "epochs": 3}},
    }
    report = shipping.ship(tmp_path, writer(GRU), written, wish, teacher=writer(GRU))
    assert "Trained on a teacher's answers, 3 epochs" in report["said"]
    pruned = {"kind": "magnitude-pruning", "options": {"share": 0.7, "epochs": 0}}
    untrained = {"format": "safetensors", "compress": pruned}
    before = shipping.ship(tmp_path / "untrained", writer(GRU), written, untrained)
    assert report["kl"] < before["kl"]
    stored = list((tmp_path / "teacher-outputs").rglob("manifest.json"))
    assert {json.loads(one.read_text())["split"] for one in stored} == {"train", "validation"}


def test_a_teacher_of_other_tokens_is_refused(
    tmp_path: Path, writer: Any, written: jobs.JSON
) -> None:
    other = writings.write(
        tmp_path / "other", written, options={**OPTIONS[GRU], "tokenizer": "bpe", "vocabulary": 300}
    )
    jobs.run(other)
    wish = {"format": "safetensors", "compress": {"kind": "magnitude-pruning"}}
    teacher = other / "output" / "model"
    with pytest.raises(ModelError, match="other tokens"):
        shipping.ship(tmp_path / "ship", writer(GRU), written, wish, teacher=teacher)


def test_weights_of_few_bits_leave_the_layer_that_decides_and_its_table(
    tmp_path: Path, writer: Any, written: jobs.JSON
) -> None:
    wish = {"format": "safetensors", "compress": {"kind": "weight-only"}}
    report = shipping.ship(tmp_path, writer(GPT), written, wish)
    assert report["agreement"] >= 0.9
    stored = load_file(tmp_path / "output" / "model.safetensors")
    rounded = [name for name, one in stored.items() if one.dtype == torch.int8]
    assert sum("c_attn" in name for name in rounded) == 1
    assert not any("wte" in name or "lm_head" in name for name in rounded)
    network = network_of(tmp_path / "output")
    few = [one for one in network.module.modules() if isinstance(one, few_bits.FewBits)]
    assert {one.weight.shape for one in few if one.turned} >= {(32, 96), (32, 128)}


def test_a_recurrent_network_is_pruned_by_its_width(
    tmp_path: Path, writer: Any, written: jobs.JSON
) -> None:
    kind = {"kind": "structured-pruning", "options": {"epochs": 1}}
    with pytest.raises(ModelError, match="Prune its width instead"):
        shipping.ship(tmp_path, writer(GRU), written, {"format": "safetensors", "compress": kind})
    kind["options"] = {"epochs": 1, "parts": "width"}
    report = shipping.ship(
        tmp_path, writer(GRU), written, {"format": "safetensors", "compress": kind}
    )
    assert report["parameters"]["after"] < report["parameters"]["before"]


def test_training_with_everything_rounded_ships_in_8_bits(
    tmp_path: Path, writer: Any, written: jobs.JSON
) -> None:
    wish = {
        "format": "onnx-int8",
        "compress": {"kind": "quantisation-aware", "options": {"epochs": 2}},
    }
    report = shipping.ship(tmp_path, writer(GRU), written, wish)
    assert report["metric"]["after"] <= report["metric"]["before"] * 1.05


def test_layers_that_keep_their_outputs_in_columns_are_rounded_by_column(
    tmp_path: Path, writer: Any, written: jobs.JSON
) -> None:
    network = network_of(writer(GPT))
    dataset = writings.opened(written)
    inputs = network.preprocessing.prepare(dataset.path, tmp_path)
    given = Material(inputs.divided(dataset), inputs, CPU, None, lambda _: None)
    asked = tuning.Options(epochs=1, learning_rate=0.001)
    trained, _ = QuantisationAware(asked).compress(network, given)
    found = [one for one in trained.module.modules() if is_transposed(one)]
    assert len(found) == 4
    for layer in found:
        weight = layer.get_parameter("weight")
        steps = weight / (weight.abs().amax(dim=0, keepdim=True) / 127)
        torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)


def test_a_teacher_is_softened_less_where_words_are_foreseen(writer: Any) -> None:
    network = network_of(writer(GRU))
    assert tuning.temperature(None, network) == 1.0
    assert tuning.temperature(3.0, network) == 3.0
