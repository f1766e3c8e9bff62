"""What happens inside a teacher, stored: the same as live, whatever its shape, and asked once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine import jobs, writings
from training.engine import data, job_config, methods, networks, questions, stored, stored_layers
from training.engine.answers import Answer, Wanted
from training.engine.data import Dataset
from training.engine.errors import Stopped
from training.engine.events import Finished, Logged
from training.engine.losses import LOSSES
from training.engine.networks import Place
from training.engine.stored_layers import Shape, UnstorableError, Writer
from training.engine.teacher_outputs import Teacher

CPU = Place(torch.device("cpu"))
TEXT, IMAGE, SOUND = "text-classification", "image-classification", "audio-classification"
TINY_BERT: jobs.JSON = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "vocab_size": 60, "max_length": 16,
}  # fmt: skip
TINY_WAVES: jobs.JSON = {
    "conv_dim": [8, 8], "conv_stride": [10, 8], "conv_kernel": [20, 8], "hidden_size": 16,
    "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "classifier_proj_size": 8,
}  # fmt: skip
TINY_VIT: jobs.JSON = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "image_size": 8, "patch_size": 4,
}  # fmt: skip
ALL = Wanted(hidden=True, attention=True, relations=True, embedding=True)
SHOWN = Wanted(hidden=True, embedding=True)
TEACHERS: dict[str, tuple[str, jobs.JSON, Wanted]] = {
    "bert": (TEXT, TINY_BERT, ALL),
    "bilstm": (TEXT, {}, SHOWN),
    "small_convnet": (IMAGE, {"channels": [4, 4], "hidden": 8}, SHOWN),
    "vit": (IMAGE, TINY_VIT, ALL),
    "spectrogram_convnet": (SOUND, {"channels": [6], "mels": 16}, SHOWN),
    "wav2vec2": (SOUND, TINY_WAVES, ALL),
}
LAYERED = [loss.key for loss in LOSSES if loss(loss.Options()).wants]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, jobs.JSON]:
    home = tmp_path_factory.mktemp("rows")
    return {
        TEXT: jobs.texts(home / "texts.parquet", rows=80),
        IMAGE: jobs.images(home / "images.parquet"),
        SOUND: jobs.sounds(home / "sounds.parquet", rows=40),
    }


def opened(said: jobs.JSON) -> Dataset:
    return data.open_dataset(Path("/"), job_config.read_dataset(said, None, []))


def drawn(architecture: str, folder: Path, rows: dict[str, jobs.JSON]) -> Teacher:
    """A teacher with random weights; its place is the folder."""
    task, options, _ = TEACHERS[architecture]
    dataset = opened(rows[task])
    resolved, faults = config_of(task, architecture, options)
    assert not faults
    asked = job_config.NetworkInput(name="big@1", architecture=architecture, config=resolved)
    if not (folder / "model").exists():
        torch.manual_seed(0)
        network = networks.student(asked, folder, dataset, task, print)
        networks.save(network, folder / "model")
    network = networks.load("big@1", folder / "model", task)
    teacher = Teacher(network, folder / "model", 1.0, dataset, CPU)
    teacher.prepare(folder / "prepared")
    return teacher


def config_of(task: str, architecture: str, options: jobs.JSON) -> tuple[Any, Any]:
    from training.engine import config

    return config.check_architecture(task, architecture, options, methods.describe())


def asking(
    one: Teacher, folder: Path, wanted: Wanted, reads: tuple[str, ...] = (), **how: Any
) -> Iterator[int]:
    return one.ask_layers(
        "train", wanted, reads or tuple(stored_layers.kinds(wanted)), folder / "store",
        folder / "prepared", how.get("stop", lambda: False), how.get("view"),
    )  # fmt: skip


def ask(one: Teacher, folder: Path, wanted: Wanted, reads: tuple[str, ...] = ()) -> list[int]:
    """Ask for layers, then for logits; the rows of each batch of layers that was asked."""
    heard = list(asking(one, folder, wanted, reads))
    list(one.ask("train", folder / "store", folder / "prepared", lambda: False))
    return heard


def same_shapes(one: Answer, two: Answer) -> None:
    first, second = stored_layers.parts(one), stored_layers.parts(two)
    assert {name: layer.shape for name, layer in first.items()} == {
        name: layer.shape for name, layer in second.items()
    }


@pytest.mark.parametrize("architecture", TEACHERS)
def test_stored_layers_equal_live_ones(
    tmp_path: Path, rows: dict[str, jobs.JSON], architecture: str
) -> None:
    wanted = TEACHERS[architecture][2]
    live, kept = (drawn(architecture, tmp_path, rows) for _ in range(2))
    assert sum(ask(kept, tmp_path, wanted)) == len(kept.dataset.splits["train"])
    some = kept.dataset.splits["train"][[5, 3, 17, 7, 30]]
    reads = stored_layers.kinds(wanted)
    now = live.answer(some, "train", wanted)
    then = kept.answer(some, "train", wanted, reads=reads)
    assert isinstance(kept.inputs, type(live.inputs))
    same_shapes(then, now)
    assert stored_layers.apart(then, now) < 2e-3
    assert torch.allclose(then.logits, now.logits, atol=2e-3)
    if any(one.form != "row" for one in kept.shape("train", wanted, reads).layouts.values()):
        assert then.mask is not None
        assert now.mask is not None
        assert torch.equal(then.mask, now.mask)
    assert kept.proven_layers("train", wanted, tmp_path / "prepared") < 2e-3


def test_what_no_term_looks_at_is_not_stored(tmp_path: Path, rows: dict[str, jobs.JSON]) -> None:
    one = drawn("bert", tmp_path, rows)
    ask(one, tmp_path, Wanted(hidden=True), ("hidden.2",))
    [path] = (tmp_path / "store").rglob("*.f16")
    assert path.name == "hidden.2.f16"
    assert one.inputs is not None
    tokens = int(one.inputs.lengths[one.dataset.splits["train"]].sum())  # type: ignore[index]
    assert path.stat().st_size == 2 * 16 * tokens  # padding is not stored
    some = one.dataset.splits["train"][:3]
    said = one.answer(some, "train", Wanted(hidden=True), reads=("hidden.2",))
    assert [bool(layer.numel()) for layer in said.hidden] == [False, False, True]
    whole = one.answer(some, "train", Wanted(hidden=True), reads=("hidden.1",))  # live
    assert all(layer.numel() for layer in whole.hidden)


def test_each_kind_is_listed_with_bytes_and_found_again(
    tmp_path: Path, rows: dict[str, jobs.JSON]
) -> None:
    assert ask(drawn("bert", tmp_path, rows), tmp_path, ALL)
    assert not ask(drawn("bert", tmp_path, rows), tmp_path, ALL)
    there = {one.kind: one for one in stored.entries(tmp_path / "store")}
    assert set(there) == {"logits", *stored_layers.KINDS.values()}
    for one in there.values():
        assert one.bytes > 1000
        assert one.reused == 1
        assert one.covered_mass == 1.0
        assert one.rows == 64
        assert len(one.kind) <= 20


def test_the_pass_over_layers_brings_the_logits_along(
    tmp_path: Path, rows: dict[str, jobs.JSON]
) -> None:
    one = drawn("bert", tmp_path, rows)
    list(asking(one, tmp_path, ALL))
    assert list(one.ask("train", tmp_path / "store", tmp_path / "prepared", lambda: False)) == []


def test_an_interrupted_pass_goes_on_where_it_was(
    tmp_path: Path, rows: dict[str, jobs.JSON], monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.engine import teacher_outputs

    monkeypatch.setattr(teacher_outputs, "HELD", 20_000)
    straight = drawn("bert", tmp_path / "straight", rows)
    batches = ask(straight, tmp_path / "straight", ALL)
    assert len(batches) > 4
    heard: list[int] = []
    with pytest.raises(Stopped):
        heard.extend(hearing(drawn("bert", tmp_path, rows), tmp_path))
    [part] = (tmp_path / "store").rglob(".*.part/attention.0.f16")
    with part.open("r+b") as file:  # what was asked before is not asked again
        file.write(np.float16(7.0).tobytes())
    again = drawn("bert", tmp_path, rows)
    ask(again, tmp_path, ALL)
    some, reads = again.dataset.splits["train"], stored_layers.kinds(ALL)
    one, two = (each.answer(some, "train", ALL, reads=reads) for each in (straight, again))
    changed = one.attention[0] != two.attention[0]
    assert two.attention[0][changed].tolist() == [7.0]
    two.attention[0][changed] = one.attention[0][changed]
    assert stored_layers.apart(one, two) == 0


def hearing(one: Teacher, folder: Path) -> Iterator[int]:
    """Stopped after two batches."""
    heard: list[int] = []
    for some in asking(one, folder, ALL, stop=lambda: len(heard) == 2):
        heard.append(some)
        yield some


def test_a_damaged_entry_of_layers_is_asked_again(
    tmp_path: Path, rows: dict[str, jobs.JSON]
) -> None:
    ask(drawn("bert", tmp_path, rows), tmp_path, ALL)
    [path] = (tmp_path / "store").rglob("attention.1.f16")
    content = bytearray(path.read_bytes())
    content[7] ^= 0xFF
    path.write_bytes(bytes(content))
    assert ask(drawn("bert", tmp_path, rows), tmp_path, ALL)
    again = stored.entries(tmp_path / "store")
    assert {one.kind: one.reused for one in again}["attention"] == 0


def test_layers_whose_places_are_not_known_row_by_row_are_refused() -> None:
    short = Answer(torch.zeros(1), hidden=(torch.zeros(1, 5, 3),))
    long = Answer(torch.zeros(1), hidden=(torch.zeros(1, 9, 3),))
    with pytest.raises(UnstorableError, match="hidden 0 has as many places as a batch"):
        stored_layers.shape_of(short, long, None, ["hidden"])


def test_what_is_beyond_float16_is_at_its_ends(tmp_path: Path) -> None:
    shape = Shape({"embedding": stored_layers.Layout("row", (2,))}, {"embedding": 1})
    writer = Writer(tmp_path / "part", shape, 1)
    said = Answer(torch.zeros(1), embedding=torch.tensor([[1e9, -1e9]]))
    writer.add(np.array([0]), said)
    writer.finish(np.array([4]))
    kept = stored_layers.StoredLayers([(tmp_path / "part", shape)]).answer(np.array([0]))
    assert kept.embedding is not None
    assert kept.embedding.tolist() == [[65504.0, -65504.0]]


# -- whole runs -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory, rows: dict[str, jobs.JSON]) -> Path:
    folder = jobs.write(
        tmp_path_factory.mktemp("bert"), rows[TEXT], architecture="bert",
        options={**TINY_BERT, "num_hidden_layers": 4}, training={"epochs": 1}, evaluate=False,
    )  # fmt: skip
    jobs.run(folder)
    return folder / "output" / "model"


def trained(
    folder: Path, said: jobs.JSON, teacher: Path, kind: str, mode: str
) -> tuple[torch.Tensor, list[str]]:
    """The weights of a student of one epoch, and what was told."""
    jobs.write(
        folder, said, architecture="bert", options={**TINY_BERT, "hidden_dropout_prob": 0.0},
        teachers=[str(teacher)], losses=[{"kind": kind}, {"kind": "hard_labels"}],
        training={"epochs": 1, "learning_rate": 0.002, "optimizer": "sgd"}, evaluate=False,
        teacher_outputs={"mode": mode, "store": str(folder.parent / "store")},
    )  # fmt: skip
    told = [one.text for one in jobs.of(jobs.run(folder), Logged)]
    network = networks.load("tiny", folder / "output" / "model", TEXT)
    return torch.cat([one.flatten() for one in network.module.parameters()]).detach(), told


@pytest.mark.parametrize("kind", LAYERED)
def test_a_stored_teacher_teaches_layers_as_a_live_one_does(
    tmp_path: Path, rows: dict[str, jobs.JSON], bert: Path, kind: str
) -> None:
    live, _ = trained(tmp_path / "live", rows[TEXT], bert, kind, "live")
    kept, told = trained(tmp_path / "kept", rows[TEXT], bert, kind, "stored")
    assert torch.allclose(live, kept, atol=5e-4)
    assert any(one.startswith("Stored: 1 epoch would ask the teacher once") for one in told)
    assert any("are stored, and equal live ones on a sample" in one for one in told)


def test_a_second_run_finds_the_layers_of_the_first(
    tmp_path: Path, rows: dict[str, jobs.JSON], bert: Path
) -> None:
    first, _ = trained(tmp_path / "first", rows[TEXT], bert, "hidden_states", "auto")
    again, told = trained(tmp_path / "again", rows[TEXT], bert, "hidden_states", "auto")
    assert torch.equal(first, again)
    assert any("were stored before, and equal live ones on a sample" in one for one in told)
    assert not any(one.startswith("Stored:") for one in told)  # nothing to decide


def test_layers_that_differ_from_live_ones_are_asked_live_with_a_warning(
    tmp_path: Path, rows: dict[str, jobs.JSON], bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, _ = trained(tmp_path / "live", rows[TEXT], bert, "hidden_states", "live")
    monkeypatch.setattr(questions, "CLOSE", 0.0)  # nothing that was rounded is as close
    kept, told = trained(tmp_path / "kept", rows[TEXT], bert, "hidden_states", "auto")
    assert any("It is asked about them live." in one for one in told)
    assert torch.allclose(live, kept, atol=1e-6)


def test_every_term_says_which_layers_it_reads() -> None:
    for key in LAYERED:
        loss = LOSSES[key](LOSSES[key].Options())
        assert loss.reads()
        for one in loss.reads():
            assert getattr(loss.wants, stored_layers.kind_of(one))


def test_layers_of_a_network_that_writes_are_stored_too(tmp_path: Path) -> None:
    texts = writings.texts(tmp_path / "dataset.parquet")
    big = writings.write(
        tmp_path / "big", texts, options=writings.LARGER, training={"epochs": 1}, evaluate=False
    )
    jobs.run(big)
    scores = []
    for mode in ("live", "stored"):
        folder = writings.write(
            tmp_path / mode, texts, teachers=[str(big / "output" / "model")],
            losses=[{"kind": "hidden_states", "layers": "last"}, {"kind": "soft_targets"}],
            training={"epochs": 1}, teacher_outputs={"mode": mode, "store": str(tmp_path / "s")},
        )  # fmt: skip
        [finished] = jobs.of(jobs.run(folder), Finished)
        scores.append(finished.summary["student"]["perplexity"])
    assert scores[0] == pytest.approx(scores[1], rel=1e-3)
    kinds = {one.kind for one in stored.entries(tmp_path / "s")}
    assert "layers" in kinds
