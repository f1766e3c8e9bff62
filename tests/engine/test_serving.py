"""Answers to inputs that stand in no dataset: the same as a dataset's rows get, alone and together,
and what cannot be read fails alone."""

import io
import json
import math
import threading
import time
import wave
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.engine import jobs, writings
from training.engine import data, evaluate, job_config, networks, options, sampling, warm_models
from training.engine.errors import ModelError
from training.engine.fresh_inputs import Unreadable
from training.engine.students import ARCHITECTURES
from training.engine.tasks import TASKS
from training.engine.warm_models import CPU, Busy, Gone, Request, Seat, Warm

JSON = dict[str, Any]


def words(path: Path) -> JSON:
    said = jobs.texts(path, rows=20)
    table = pq.read_table(path)
    tags = [
        " ".join("B-ACT" if one in jobs.LABELS else "O" for one in text.split())
        for text in table["text"].to_pylist()
    ]
    table = table.set_column(table.schema.get_field_index("label"), "label", [tags])
    pq.write_table(table, path)
    return said | {"labels": ["B-ACT", "O"], "sha256": ""}


def several(path: Path) -> JSON:
    return jobs.texts(path, rows=20) | {"problem": "multi_label", "separator": "|"}


def vectors(path: Path) -> JSON:
    return jobs.texts(path, rows=20) | {"problem": "embedding", "labels": []}


def numbers(path: Path) -> JSON:
    return jobs.tables(path, rows=20, problem="regression")


def sound(*, rate: int = 8000, channels: int = 1) -> bytes:
    """A WAV file of a few samples that promises much."""
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(bytes(range(1, 201)) * 2 * channels)
    return made.getvalue()


TINY = {"dim": 8, "layers": 1, "heads": 2, "inner": 16, "vocabulary": 60, "max_length": 16}
CASES: dict[str, tuple[Callable[[Path], JSON], str, str]] = {
    "texts": (jobs.texts, "text-classification", "bag_of_embeddings"),
    "texts of several labels": (several, "text-classification", "text_cnn"),
    "words": (words, "token-classification", "bilstm"),
    "vectors": (vectors, "feature-extraction", "bert-embedding"),
    "images": (jobs.images, "image-classification", "small_convnet"),
    "sounds": (jobs.sounds, "audio-classification", "spectrogram_convnet"),
    "waves": (jobs.sounds, "audio-classification", "wav2vec2"),
    "tables": (jobs.tables, "tabular-classification", "tabular_mlp"),
    "numbers": (numbers, "tabular-classification", "tabular_mlp"),
}


def made(folder: Path, dataset: JSON, task: str, architecture: str, asked: JSON) -> Path:
    """The model folder of a network as it was drawn."""
    described = job_config.DatasetInput(
        **{"problem": "single_label", **dataset, "labels": tuple(dataset["labels"])}
    )
    opened = data.open_dataset(folder, described, TASKS[task].unit)
    whole, faults = options.check(options.describe(ARCHITECTURES[architecture].Options), asked)
    assert not faults
    wanted = job_config.NetworkInput(name="tiny@1", architecture=architecture, config=whole)
    torch.manual_seed(3)
    network = networks.student(wanted, folder, opened, task, lambda said: None)
    networks.save(network, folder / "model")
    return folder / "model"


def asked_of(task: str, folder: Path, name: str = "tiny@1") -> JSON:
    files = [
        {"name": one.name, "sha256": sha256(one.read_bytes()).hexdigest()}
        for one in sorted(folder.iterdir())
    ]
    return {"name": name, "task": task, "folder": str(folder), "files": files}


def warm(most_models: int = 4, most_bytes: int = 1 << 30) -> Warm:
    return Warm(most_models=most_models, most_bytes=most_bytes, threads=1)


def answered(seat: Seat, inputs: list[JSON], **options: Any) -> Request:
    if options.get("measure"):
        options["first"] = inputs[0]
    request = Request([seat.read(one) for one in inputs], options, time.monotonic() + 60)
    seat.ask(request)
    assert request.done.wait(60)
    return request


def rows_of(dataset: JSON, task: str) -> list[JSON]:
    table = pq.read_table(dataset["path"]).to_pylist()
    column = TASKS[task].column
    if column == "text":
        return [{"text": row["text"]} for row in table]
    if column:
        return [{"bytes": row[column]} for row in table]
    return [{"columns": {name: row[name] for name in dataset["columns"]}} for row in table]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Seat, JSON, str]]:
    found = {}
    for name, (make, task, architecture) in CASES.items():
        folder = tmp_path_factory.mktemp("case")
        dataset = make(folder / "dataset.parquet")
        known = {one["name"] for one in options.describe(ARCHITECTURES[architecture].Options)}
        model = made(folder, dataset, task, architecture, {
            key: value for key, value in TINY.items() if key in known
        })  # fmt: skip
        found[name] = (warm().load("one", asked_of(task, model)), dataset, task)
    return found


@pytest.mark.parametrize("name", CASES)
def test_new_inputs_are_answered_as_rows_of_a_dataset_are(
    name: str, cases: dict[str, tuple[Seat, JSON, str]], tmp_path: Path
) -> None:
    seat, dataset, task = cases[name]
    inputs = rows_of(dataset, task)
    prepared = seat.network.preprocessing.prepare(Path(dataset["path"]), tmp_path)
    every = np.arange(len(inputs))
    theirs = evaluate.predict(seat.network, prepared, every, CPU)
    read = [seat.read(one) for one in inputs]
    assert not [one for one in read if isinstance(one, Unreadable)]
    ours = seat._logits(read)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    together = answered(seat, inputs).answers
    for place in (0, 7, len(inputs) - 1):
        (alone,) = answered(seat, [inputs[place]]).answers
        assert alone.keys() == together[place].keys()
        assert _near(alone, together[place])


def _near(one: Any, two: Any) -> bool:
    if isinstance(one, float) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=1e-3, abs_tol=1e-5)
    if isinstance(one, dict):
        return all(_near(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(_near, one, two))
    return bool(one == two)


def test_probabilities_come_the_likeliest_first_and_add_up(
    cases: dict[str, tuple[Seat, JSON, str]],
) -> None:
    seat, _, _ = cases["texts"]
    (said,) = answered(seat, [{"text": "please refund my card"}]).answers
    assert next(iter(said["probabilities"])) == said["label"]
    assert list(said["probabilities"].values()) == sorted(said["probabilities"].values())[::-1]
    assert sum(said["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    (said,) = answered(seat, [{"text": "please refund"}], top=2).answers
    assert len(said["probabilities"]) == 2


def test_several_labels_are_those_likelier_than_not(
    cases: dict[str, tuple[Seat, JSON, str]],
) -> None:
    seat, _, _ = cases["texts of several labels"]
    (said,) = answered(seat, [{"text": "please refund"}]).answers
    sure = said["probabilities"]
    assert set(said["label"]) == {label for label, one in sure.items() if one > 0.5}
    assert len(sure) == 3


def test_words_are_told_with_their_places_and_spans(
    cases: dict[str, tuple[Seat, JSON, str]],
) -> None:
    seat, _, _ = cases["words"]
    text = "  please   refund\nmy my card"
    (said,) = answered(seat, [{"text": text}]).answers
    assert [text[word["start"] : word["end"]] for word in said["words"]] == text.split()
    assert said["label"] == [word["label"] for word in said["words"]]
    for span in said["spans"]:
        assert text[span["start"] : span["end"]].split() == span["text"].split()


def test_numbers_are_in_the_scale_of_the_labels(
    cases: dict[str, tuple[Seat, JSON, str]],
) -> None:
    seat, dataset, task = cases["numbers"]
    said = [one["label"] for one in answered(seat, rows_of(dataset, task)).answers]
    assert 80 < np.mean(said) < 160


@pytest.mark.parametrize(
    ("name", "bad", "words"),
    [
        ("texts", {"bytes": b"x"}, "reads texts"),
        ("texts", {"text": "x" * 200_001}, "200,001 characters"),
        ("words", {"text": "  "}, "no word"),
        ("words", {"text": "card " * 500}, "tokens"),
        ("images", {"bytes": b"GIF89a no"}, "no picture"),
        ("images", {"text": "hello"}, "takes a picture"),
        ("sounds", {"bytes": b"RIFF"}, "no sound"),
        ("sounds", {"bytes": sound(channels=200)}, "200 channels"),
        ("sounds", {"bytes": sound(rate=2_000_000)}, "2,000,000 samples"),
        ("tables", {"columns": {"size": "far"}}, "size is a number"),
        ("tables", {"columns": {"size": 10**400}}, "size is a number"),
        ("tables", {"columns": {"colour": 1}}, "no column colour"),
        ("tables", {"text": "x"}, "row of a table"),
    ],
)
def test_what_cannot_be_read_fails_alone(
    name: str, bad: JSON, words: str, cases: dict[str, tuple[Seat, JSON, str]]
) -> None:
    seat, dataset, task = cases[name]
    good = rows_of(dataset, task)[:2]
    said = answered(seat, [good[0], bad, good[1]]).answers
    assert words in said[1]["error"]
    assert "error" not in said[0]
    assert "error" not in said[2]


def test_a_damaged_picture_and_a_damaged_sound_are_told_apart_from_none(
    cases: dict[str, tuple[Seat, JSON, str]],
) -> None:
    for name, words in (("images", "damaged"), ("sounds", "sound")):
        seat, dataset, task = cases[name]
        (good, *_) = rows_of(dataset, task)
        (said,) = answered(seat, [{"bytes": good["bytes"][: len(good["bytes"]) // 2]}]).answers
        if "error" in said:  # a sound that ends early is a shorter sound
            assert words in said["error"]


def test_missing_columns_are_missing_values(cases: dict[str, tuple[Seat, JSON, str]]) -> None:
    seat, _, _ = cases["tables"]
    said = answered(
        seat,
        [{"columns": {}}, {"columns": {"size": None, "place": ""}}, {"columns": {"place": "mars"}}],
    ).answers
    assert said[0] == said[1]
    assert "error" not in said[2]


def test_what_many_ask_at_once_is_answered_together(
    cases: dict[str, tuple[Seat, JSON, str]],
) -> None:
    seat, dataset, task = cases["texts"]
    inputs = rows_of(dataset, task)[:40]
    alone = [answered(seat, [one]).answers[0]["label"] for one in inputs]
    requests = [Request([seat.read(one)], {}, time.monotonic() + 60) for one in inputs]
    before = seat.batches
    with seat._change:  # nobody is served before all stand in line
        for one in requests:
            seat._waiting.append(one)
        seat._change.notify()
    assert all(one.done.wait(60) for one in requests)
    assert seat.batches - before == 1
    assert {one.batch for one in requests} == {40}
    assert [one.answers[0]["label"] for one in requests] == alone


def test_one_that_breaks_a_batch_breaks_alone(
    cases: dict[str, tuple[Seat, JSON, str]],
) -> None:
    """Whatever reading let through: here ids that the network has no rows for."""
    seat, _, _ = cases["texts"]
    good = Request([seat.read({"text": "refund my card"})], {}, time.monotonic() + 60)
    bad = Request([[10_000]], {}, time.monotonic() + 60)
    seat._answer([good, bad])
    assert good.answers[0]["label"] in jobs.LABELS
    assert bad.failed is not None
    assert bad.failed["status"] == "failed"


def test_nobody_is_answered_who_has_left_and_more_than_fits_is_refused(
    cases: dict[str, tuple[Seat, JSON, str]],
) -> None:
    seat, _, _ = cases["texts"]
    late = Request([seat.read({"text": "hello"})], {}, time.monotonic() - 1)
    seat.ask(late)
    assert late.done.wait(10)
    assert late.failed == {"status": "late"}
    many = Request([None] * (warm_models.MOST_WAITING + 1), {}, time.monotonic() + 1)
    with pytest.raises(Busy):
        seat.ask(many)


def test_latency_is_the_median_of_a_few_warm_calls(
    cases: dict[str, tuple[Seat, JSON, str]],
) -> None:
    seat, _, _ = cases["texts"]
    latency = answered(seat, [{"text": "hello"}], measure=5).latency
    assert latency is not None
    assert latency["of"] == "input"
    assert 1 <= latency["calls"] <= 5
    assert latency["median_ms"] > 0


def test_what_was_used_longest_ago_makes_room(teacher: Path) -> None:
    task = "text-classification"
    kept = warm(most_models=2)
    first = kept.load("a", asked_of(task, teacher, "a"))
    kept.load("b", asked_of(task, teacher, "b"))
    assert kept.find("a") is first
    kept.load("c", asked_of(task, teacher, "c"))
    assert [one["name"] for one in kept.told()] == ["a", "c"]
    assert kept.find("b") is None
    kept.load("d", asked_of(task, teacher, "d"))
    with pytest.raises(Gone):  # whoever had found it loads it again
        first.ask(Request([first.read({"text": "x"})], {}, time.monotonic() + 1))


def test_one_model_is_loaded_once_however_many_ask_for_it(teacher: Path) -> None:
    kept, found = warm(), []
    asked = asked_of("text-classification", teacher)
    threads = [threading.Thread(target=lambda: found.append(kept.load("a", asked))) for _ in "1234"]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len({id(one) for one in found}) == 1


def test_a_model_that_is_too_large_or_not_what_was_stored_is_refused(
    teacher: Path, tmp_path: Path
) -> None:
    asked = asked_of("text-classification", teacher)
    with pytest.raises(ModelError, match="DISTILLHUB_WARM_MIB"):
        warm(most_bytes=100).load("a", asked)
    other = [{**one, "sha256": "0" * 64} for one in asked["files"]]
    with pytest.raises(ModelError, match="not the file that was stored"):
        warm().load("a", asked | {"files": other})
    with pytest.raises(ModelError, match="no file of it"):
        warm().load("a", asked | {"files": asked["files"][:1]})


@pytest.fixture(scope="module")
def writers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seat]:
    found = {}
    for form in (writings.texts, writings.questions, writings.chats):
        folder = tmp_path_factory.mktemp("writer")
        job = writings.write(folder, form(folder / "dataset.parquet"), evaluate=False)
        jobs.run(job)
        model = folder / "output" / "model"
        found[form.__name__] = warm().load("one", asked_of("text-generation", model))
    return found


def test_a_text_goes_on_as_the_network_alone_writes_it(writers: dict[str, Seat]) -> None:
    seat = writers["texts"]
    network: Any = seat.network
    own = network.preprocessing
    (said,) = answered(seat, [{"text": "the cat "}], most=6).answers
    (ids,) = sampling.write(
        network.module, CPU, [own.prompt("the cat ")], most=6, window=own.max_length + 1,
        temperature=0.0, end=own.end, chance=sampling.chance_of(0),
    )  # fmt: skip
    assert said["text"] == own.decode(ids)
    assert said["label"] == said["text"]
    assert "".join(one["text"] for one in said["tokens"]) == said["text"]


def test_each_token_is_told_with_what_else_could_have_stood_there(
    writers: dict[str, Seat],
) -> None:
    (said,) = answered(writers["texts"], [{"text": "the cat "}], most=4, shown=3).answers
    for one in said["tokens"]:
        others = [other["probability"] for other in one["alternatives"]]
        assert len(others) == 3
        assert others == sorted(others, reverse=True)
        assert one["probability"] >= others[0]  # greedily the likeliest
        assert one["probability"] + sum(others) <= 1.001


def test_one_seed_draws_one_text_and_another_another(writers: dict[str, Seat]) -> None:
    seat, how = writers["texts"], {"most": 8, "temperature": 1.5}
    texts = [answered(seat, [{"text": "a dog "}], seed=seed, **how).answers[0]["text"]
             for seed in (1, 1, 2, 3)]  # fmt: skip
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1


def test_texts_written_together_are_those_written_alone(writers: dict[str, Seat]) -> None:
    seat = writers["questions"]
    inputs = [{"text": one} for one in ("red blue pink", "green", "pink red")]
    together = answered(seat, inputs, most=8).answers
    alone = [answered(seat, [one], most=8).answers[0] for one in inputs]
    assert [one["text"] for one in together] == [one["text"] for one in alone]


def test_a_model_of_chats_is_spoken_to_as_it_was_trained(writers: dict[str, Seat]) -> None:
    seat = writers["chats"]
    asked = [{"role": "user", "content": "say yes"}]
    plain, spoken, written = answered(
        seat, [{"text": "say yes"}, {"messages": asked}, {"text": json.dumps(asked)}], most=4
    ).answers
    assert plain["text"] == spoken["text"] == written["text"]
    bad: list[JSON] = [{"messages": "hello"}, {"messages": []}, {"messages": [{"role": "assistant",
           "content": "x"}]}]  # fmt: skip
    assert all("messages" in one["error"] for one in answered(seat, bad).answers)
    assert answered(seat, [{"text": "x"}], measure=2).latency["of"] == "token"  # type: ignore[index]
