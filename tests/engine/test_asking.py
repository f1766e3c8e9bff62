"""Live or stored, by what was measured; and augmented rows frozen into views that can be stored."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine import jobs
from training.engine import asking, data, job_config, methods, networks, stored
from training.engine.answers import Wanted
from training.engine.asking import Estimate, Plan, choose, decide
from training.engine.augmentation import View, Viewed
from training.engine.errors import ConfigError
from training.engine.events import Finished, Logged
from training.engine.networks import Place
from training.engine.teacher_outputs import Teacher

CPU = Place(torch.device("cpu"))
IMAGE = "image-classification"
CONVNET: jobs.JSON = {"channels": [4, 4], "hidden": 8}
PLAN = Plan(wanted=Wanted(), reads=(), views=(None,), epochs=12, runs=1, batch_size=8)
FOUND = Estimate(
    live_seconds=340.0, once_seconds=28.0, read_seconds=1.2, bytes=35_000_000,
    room=1_000_000_000, free=10_000_000_000,
)  # fmt: skip


@pytest.fixture
def big(images: jobs.JSON, image_teacher: Path, tmp_path: Path) -> Teacher:
    dataset = data.open_dataset(Path("/"), job_config.read_dataset(images, None, []))
    network = networks.load("big@1", image_teacher, IMAGE)
    teacher = Teacher(network, image_teacher, 1.0, dataset, CPU)
    teacher.prepare(tmp_path / "prepared")
    return teacher


# -- the choice -----------------------------------------------------------------------------------


def test_a_choice_says_its_numbers() -> None:
    assert choose(FOUND, PLAN, "auto").sentence == (
        "Stored: 12 epochs would ask the teacher 12 times (about 340 s); once costs 28 s and "
        "35 MB, and reading 1.2 s."
    )
    several = replace(PLAN, runs=20, views=tuple(View("light", 0, one) for one in range(4)))
    assert choose(FOUND, several, "auto").sentence == (
        "Stored: 12 epochs of 20 runs would ask the teacher 240 times (about 340 s); 4 views cost "
        "28 s and 35 MB, and reading 1.2 s."
    )


def test_what_is_read_more_slowly_than_asked_is_asked_live_unless_storing_was_asked_for() -> None:
    slow = replace(FOUND, read_seconds=900.0)
    decision = choose(slow, PLAN, "auto")
    assert not decision.stored
    assert decision.sentence == (
        "Live: the teacher is asked 12 times (about 340 s) in 12 epochs; storing would cost 28 s "
        "and 35 MB, and reading 15 min."
    )
    assert choose(slow, PLAN, "stored").stored


def test_a_little_slower_is_stored_all_the_same_for_later_runs() -> None:
    once = replace(PLAN, epochs=1)
    assert choose(replace(FOUND, live_seconds=28.0), once, "auto").stored


def test_what_would_fill_the_disk_is_live_or_refused_with_what_to_do() -> None:
    large = replace(FOUND, bytes=6_000_000_000)
    decision = choose(large, PLAN, "auto")
    assert not decision.stored
    assert decision.sentence == (
        "Live: stored answers would take 6.0 GB, more than 1.0 GB (a tenth of the free disk, at "
        "most 8 GiB), so the teacher is asked 12 times (about 340 s) in 12 epochs."
    )
    with pytest.raises(ConfigError, match=r"would take 6\.0 GB, and 10 GB are free\. Ask the"):
        choose(large, PLAN, "stored")
    assert choose(replace(large, bytes=4_000_000_000), PLAN, "stored").stored


def test_all_runs_of_a_sweep_share_one_pass(big: Teacher, tmp_path: Path) -> None:
    alone = asking.measure(big, PLAN, tmp_path / "store")
    assert alone.bytes == 2 * 3 * len(big.dataset.splits["train"])
    assert alone.live_seconds > 0
    assert alone.once_seconds > 0
    assert alone.room <= alone.free // asking.SHARE
    assert not list((tmp_path / "store").iterdir())  # what was tried is gone
    assert replace(PLAN, runs=20).times == 240


def test_layers_are_weighed_to_the_byte(big: Teacher, tmp_path: Path) -> None:
    rows = len(big.dataset.splits["train"])
    plan = replace(PLAN, wanted=Wanted(hidden=True, embedding=True), reads=("embedding", "hidden"))
    shape = big.shape("train", plan.wanted, plan.reads)
    found = asking.measure(big, plan, tmp_path / "store")
    assert found.bytes == shape.bytes_of(np.ones(rows, dtype=np.int64)) + 2 * 3 * rows
    list(big.ask_layers("train", plan.wanted, plan.reads, tmp_path / "store", tmp_path, bool))
    kept = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*.f16"))
    assert found.bytes == kept + 2 * 3 * rows


def test_a_job_that_goes_on_asks_as_it_began(big: Teacher, tmp_path: Path) -> None:
    store, home = tmp_path / "store", tmp_path / "prepared"
    first = decide(big, PLAN, "auto", store, home)
    assert first.stored
    [note] = home.glob("asking-*.json")
    note.write_text(json.dumps({**json.loads(note.read_text()), "stored": False}))
    assert decide(big, PLAN, "auto", store, home) == asking.Decision(False, first.sentence)


def test_nothing_is_measured_where_the_store_has_all(big: Teacher, tmp_path: Path) -> None:
    list(big.ask("train", tmp_path / "store", tmp_path, lambda: False))
    assert decide(big, PLAN, "auto", tmp_path / "store", tmp_path) == asking.Decision(True, "")


def test_a_run_tells_why_its_teacher_is_asked_as_it_is(
    tmp_path: Path, images: jobs.JSON, image_teacher: Path
) -> None:
    folder = jobs.write(
        tmp_path, images, task=IMAGE, architecture="small_convnet", options=CONVNET,
        teachers=[str(image_teacher)], training={"epochs": 1}, evaluate=False,
        teacher_outputs={"mode": "auto", "store": str(tmp_path / "store"), "runs": 20},
    )  # fmt: skip
    told = jobs.run(folder)
    [sentence] = [one.text for one in jobs.of(told, Logged) if one.text.startswith("Stored:")]
    assert sentence.startswith("Stored: 1 epoch of 20 runs would ask the teacher 20 times")
    [finished] = jobs.of(told, Finished)
    [decision] = finished.summary["teacher_outputs"]
    assert decision["sentence"] == sentence
    assert decision["estimate"]["bytes"] > 0


# -- frozen views ---------------------------------------------------------------------------------


def test_a_view_of_a_row_is_the_same_wherever_it_is_met(big: Teacher) -> None:
    assert big.inputs is not None
    ids = big.dataset.row_ids
    rows = big.dataset.splits["train"]
    first, second = (Viewed(big.inputs, View("strong", 3, one), ids) for one in (0, 1))
    together = first.batch(rows)["pixel_values"]
    assert torch.equal(together[[7]], first.batch(rows[[7]])["pixel_values"])
    assert not torch.equal(together, second.batch(rows)["pixel_values"])
    assert not torch.equal(together, big.inputs.batch(rows)["pixel_values"])


def test_a_view_of_a_sound_does_not_depend_on_longer_ones_beside_it() -> None:
    chance = torch.Generator().manual_seed(0)
    mask = (torch.arange(400) < torch.tensor([90, 400])[:, None]).long()
    waves = torch.randn(2, 400, generator=chance) * mask
    view = View("strong", 0, 2)
    both = view.of({"input_values": waves, "attention_mask": mask}, np.array([5, 6]))
    alone = view.of(
        {"input_values": waves[:1, :90], "attention_mask": mask[:1, :90]}, np.array([5])
    )
    assert torch.allclose(both["input_values"][:1, :90], alone["input_values"], atol=1e-6)


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(hidden=True, embedding=True)])
def test_stored_views_equal_a_live_teacher_on_them(
    big: Teacher, tmp_path: Path, wanted: Wanted
) -> None:
    view, store = View("strong", 0, 1), tmp_path / "store"
    rows = big.dataset.splits["train"][[3, 20, 11]]
    batch = big.seen(view).batch(rows)
    live = big.answer(rows, "train", wanted, batch)
    reads = ("embedding", "hidden") if wanted else ()
    if reads:
        list(big.ask_layers("train", wanted, reads, store, tmp_path, lambda: False, view))
    list(big.ask("train", store, tmp_path, lambda: False, view))
    kept = big.answer(rows, "train", wanted, batch, view=view, reads=reads)
    assert torch.allclose(kept.logits, live.logits, rtol=2e-3, atol=1e-3)
    assert big.proven("train", tmp_path, view=view) < 1e-3
    if reads:
        assert big.proven_layers("train", wanted, tmp_path, view=view) < 1e-3
    plain = big.answer(rows, "train", wanted)
    assert not torch.allclose(kept.logits, plain.logits, atol=1e-3)
    assert {one.split for one in stored.entries(store)} == {"train, view 1"}


def trained(
    folder: Path, images: jobs.JSON, teacher: Path, mode: str, **training: object
) -> tuple[bytes, list[str]]:
    jobs.write(
        folder, images, task=IMAGE, architecture="small_convnet", options=CONVNET,
        teachers=[str(teacher)], evaluate=False,
        losses=[*jobs.SOFT, {"kind": "hidden_states", "layers": "last", "weight": 0.1}],
        training={"augmentation": "light", "learning_rate": 0.01, **training},
        teacher_outputs={"mode": mode, "store": str(folder.parent / "store")},
    )  # fmt: skip
    told = [one.text for one in jobs.of(jobs.run(folder), Logged)]
    return jobs.weights(folder), told


def test_epochs_take_views_in_turn_and_ask_about_each_once(
    tmp_path: Path, images: jobs.JSON, image_teacher: Path
) -> None:
    how = {"epochs": 3, "augmentation_views": 2}
    kept, told = trained(tmp_path / "kept", images, image_teacher, "stored", **how)
    again, found = trained(tmp_path / "again", images, image_teacher, "auto", **how)
    assert kept == again
    assert any("2 views cost" in one for one in told)
    assert any(one == "big@1 answered 48 train rows in view 1." for one in told)
    assert "Stored answers of big@1 in view 0 equal live ones on a sample." in found
    splits = {one.split for one in stored.entries(tmp_path / "store")}
    assert splits == {"train, view 0", "train, view 1", "validation"}  # no test row, unevaluated
    live, _ = trained(tmp_path / "live", images, image_teacher, "live", **how)
    model = "output/model/model.safetensors"
    assert (tmp_path / "live" / model).stat().st_size == len(live)
    mine, theirs = (
        networks.load("tiny", tmp_path / one / "output" / "model", IMAGE).module.state_dict()
        for one in ("kept", "live")
    )
    for name, value in mine.items():
        assert torch.allclose(value, theirs[name], atol=2e-2), name


def test_no_more_views_are_asked_for_than_there_are_epochs(
    tmp_path: Path, images: jobs.JSON, image_teacher: Path
) -> None:
    trained(tmp_path / "job", images, image_teacher, "auto", epochs=1, augmentation_views=8)
    splits = [one.split for one in stored.entries(tmp_path / "store")]
    assert {one for one in splits if one.startswith("train")} == {"train, view 0"}


def test_texts_are_never_changed_so_their_teacher_need_not_be_asked_live(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    jobs.write(
        tmp_path, texts, teachers=[str(teacher)], evaluate=False,
        training={"augmentation": "strong", "epochs": 1},
    )  # fmt: skip
    told = [one.text for one in jobs.of(jobs.run(tmp_path), Logged)]
    assert "big@1 answered 96 train rows." in told


def test_rows_that_change_in_every_epoch_are_not_to_be_stored(
    tmp_path: Path, images: jobs.JSON, image_teacher: Path
) -> None:
    with pytest.raises(ConfigError, match="give a number of frozen views"):
        trained(tmp_path / "job", images, image_teacher, "stored", epochs=1)
    raw = json.loads((tmp_path / "job" / "config.json").read_text())
    raw["training"]["augmentation_views"] = 2
    assert job_config.parse_job(raw, methods.describe()).training.augmentation_views == 2
