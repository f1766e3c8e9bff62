"""Texts, pictures, sounds and rows of tables in numbers and words: right, quick, never raising."""

import csv
import io
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageFilter

from tests.engine import jobs
from training.engine import tokenization
from training.engine.descriptors import DESCRIPTORS, READS, reading
from training.engine.watching import describing

BROKEN: dict[str, list[Any]] = {
    "text": [None, "", "   ", "\ud800 half", 7, "é" * 50_000, "\x00", "🙂🙂🙂"],
    "image": [None, b"", b"no picture", 7, "text"],
    "audio": [None, b"", b"RIFF____WAVE", 7, "text"],
}


def png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def wav(samples: Any, rate: int = 8000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples), rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def examples(reads: str) -> list[Any]:
    chance = np.random.default_rng(0)
    if reads == "text":
        return ["Where is my card?", "I lost 3 of them; pay me back!", "Wo ist meine Karte?"]
    if reads == "image":
        return [png(chance.integers(0, 255, (9 + one, 12, 3))) for one in range(3)]
    return [wav(chance.normal(0, 0.1, 2000 + one)) for one in range(3)]


TOKENIZER = tokenization.learn(
    lambda: iter(["where is my card", "pay me my card back"] * 3), tokenization.Wish()
).tokenizer


@pytest.mark.parametrize("key", [one.key for one in DESCRIPTORS])
def test_a_descriptor_says_one_thing_of_each_row_whatever_stands_beside_it(key: str) -> None:
    one = DESCRIPTORS[key]
    name = f"described.{key}"
    assert one.reads in READS
    assert describing.signals(one.reads, tokenizer=True)[name] == one.kind
    rows = [*examples(one.reads), *BROKEN[one.reads]]
    said = describing.describe(one.reads, rows, TOKENIZER)[name]
    alone = [describing.describe(one.reads, [row], TOKENIZER)[name][0] for row in rows]
    assert len(said) == len(rows)
    if one.kind == "categories":
        assert list(said) == alone
        assert all(value is None or isinstance(value, str) for value in said)
    else:
        assert np.array_equal(said, np.array(alone, dtype=np.float64), equal_nan=True)
        assert np.isfinite(said[:3]).all()
    assert describing.describe(one.reads, [], TOKENIZER)[name] is not None
    assert one.described()["summary"].endswith(".")


def test_texts_are_counted_and_their_language_is_guessed_or_unsure() -> None:
    rows = [
        "Where is my card? I lost it yesterday in the city.",
        "Wo ist meine Karte? Ich habe sie gestern in der Stadt verloren.",
        "¿Dónde está mi tarjeta? La perdí ayer en la ciudad.",
        "カードはどこですか。昨日なくしました。",
        "ok 12",
    ]
    said = describing.describe("text", rows, TOKENIZER)
    assert said["described.language"] == ["en", "de", "es", "ja", "unsure"]
    assert said["described.length"][4] == 5
    assert said["described.words"][4] == 2
    assert said["described.non_letters"][4] == pytest.approx(0.5)


def test_words_out_of_the_students_vocabulary_are_those_it_does_not_hold_whole() -> None:
    said = describing.describe(
        "text", ["where is my card", "where is my zebra", "zebra"], TOKENIZER
    )
    assert said["described.out_of_vocabulary"].tolist() == [0, 0.25, 1]
    pieces = tokenization.learn(
        lambda: iter(["where is my card"] * 5), tokenization.Wish(kind="wordpiece", vocabulary=40)
    ).tokenizer
    said = describing.describe("text", ["where is my card", "where is my cardis"], pieces)
    assert said["described.out_of_vocabulary"].tolist() == [0, 0.25]
    assert "described.out_of_vocabulary" not in describing.describe("text", ["a"])
    assert "described.out_of_vocabulary" not in describing.signals("text")


def test_pictures_are_bright_sharp_large_and_colourful_as_they_are() -> None:
    grey = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    noisy = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    blurred = Image.fromarray(noisy).filter(ImageFilter.GaussianBlur(2))
    red = np.zeros((40, 30, 3), dtype=np.uint8)
    red[..., 0] = 200
    said = describing.describe(
        "image", [png(grey), png(noisy), png(blurred), png(red), png(np.full((8, 8), 255))]
    )
    assert said["described.brightness"][[0, 4]] == pytest.approx([grey.mean() / 255, 1])
    assert said["described.contrast"][0] == pytest.approx(grey.std() / 255, rel=1e-5)
    assert said["described.saturation"].tolist() == [0, 0, 0, 1, 0]
    assert said["described.size"].tolist() == [4096, 4096, 4096, 1200, 64]
    sharp, soft = said["described.sharpness"][1:3]
    assert sharp > 10 * soft > 0


def test_a_large_photograph_is_looked_at_in_a_small_copy_and_told_of_in_its_own_size() -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((1500, 2000, 3), 128, dtype=np.uint8)).save(file, "JPEG")
    said = describing.describe("image", [file.getvalue()])
    assert said["described.size"].tolist() == [3_000_000]
    assert said["described.brightness"][0] == pytest.approx(0.5, abs=0.01)


def test_pictures_that_have_programs_run_are_none() -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 128, dtype=np.uint8)).save(file, "EPS")
    assert reading.picture(file.getvalue()) is None
    assert reading.picture(png(np.zeros((8, 8)))) is not None


def test_a_sound_whose_minute_fits_no_memory_is_none() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((100, 9)), 8000, format="WAV")
    assert reading.wave(file.getvalue()) is None
    assert reading.wave(b"RIFF") is None


def test_sounds_are_long_loud_silent_and_high_as_they_are() -> None:
    time = np.arange(8000) / 8000
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time)
    halved = np.where(time < 0.5, tone, 0.0)
    said = describing.describe("audio", [wav(tone), wav(halved), wav(np.zeros(4000))])
    assert said["described.duration"].tolist() == [1, 1, 0.5]
    assert said["described.loudness"] == pytest.approx([-9.03, -12.04, -100], abs=0.01)
    assert said["described.silence_share"].tolist() == [0, 0.5, 1]
    assert said["described.spectral_centroid"][:2] == pytest.approx([1000, 1000], abs=5)
    assert np.isnan(said["described.spectral_centroid"][2])


def test_columns_of_a_table_are_watched_themselves() -> None:
    rows: list[Any] = [{"age": one + 0.5, "code": one % 3, "place": "north"} for one in range(40)]
    rows += [None, "no object", {"age": "old", "code": True, "place": 4.0}, {"age": float("inf")}]
    kinds = describing.kinds(rows)
    assert kinds == {"age": "numeric", "code": "categorical", "place": "categorical"}
    assert describing.signals("columns", kinds)["input.age"] == "numbers"
    said = describing.describe("columns", rows, columns=kinds)
    assert np.isnan(said["input.age"][40:]).all()
    assert said["input.code"][:3] == ["0", "1", "2"]
    assert said["input.place"][39:] == ["north", None, None, "4", None]


def test_of_inputs_that_are_vectors_alone_nothing_is_described() -> None:
    assert describing.describe("vector", [[1.0]]) == {}
    assert describing.signals("") == {}


def test_describing_imports_no_torch() -> None:
    script = (
        "import sys; from training.engine.watching import describing;"
        "describing.describe('text', ['a word']); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=jobs.ROOT)


def test_questions_of_a_bank_are_english_or_unsure(shared_data: Path) -> None:
    with (shared_data / "banking77/test.csv").open() as file:
        texts = [one["text"] for one in csv.DictReader(file)][:1000]
    counts: Counter[str] = Counter(describing.describe("text", texts)["described.language"])
    assert set(counts) <= {"en", "unsure"}
    assert counts["en"] > 700


def test_spoken_digits_are_short_and_as_loud_as_speech(shared_data: Path) -> None:
    with zipfile.ZipFile(shared_data / "fsdd/fsdd_small.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".wav")][:60]
        said = describing.describe("audio", [archive.read(name) for name in names])
    assert np.median(said["described.duration"]) == pytest.approx(0.4, abs=0.2)
    assert -45 < np.median(said["described.loudness"]) < -10
    assert 200 < np.median(said["described.spectral_centroid"]) < 2500
