"""Zips of sounds in class folders, and what strangers put into them."""

import io
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from projects.ingest import audio_folder, registry, waveforms
from projects.ingest.formats import BadFile, LeftOut, Plan, Row
from projects.models import Project
from projects.services import version_rows
from tests.projects.test_dataset_versions import error_of, issues_of, table_of, uploaded
from tests.projects.test_ingest_images import PIXEL, archive

SOUNDS = registry.get("audio_folder")
RATE = 8000


def sound(
    seconds: float = 0.1, *, hertz: float = 440, kind: str = "WAV", rate: int = RATE, **save: Any
) -> bytes:
    time = np.arange(round(seconds * rate)) / rate
    wave = np.rint(16_000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)
    out = io.BytesIO()
    soundfile.write(out, np.stack([wave] * save.pop("channels", 1), 1), rate, format=kind, **save)
    return out.getvalue()


TONE = sound()


def read(file: io.BytesIO) -> list[Row | LeftOut]:
    return list(SOUNDS.rows(file, "x.zip", {}, Plan()))


def one(content: bytes, name: str = "a/1.wav") -> Row:
    (row,) = read(archive((name, content)))
    assert isinstance(row, Row)
    return row


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_every_kind_is_kept_to_the_byte_and_measured(kind: str) -> None:
    content = sound(0.5, kind=kind)
    row = one(content, f"a/1.{kind.lower()}")
    assert row.input == content
    assert row.values[1] == pytest.approx(0.5, abs=0.15)  # MP3 pads
    assert row.measures[1] == RATE
    assert row.kind.endswith(", mono")
    assert row.label == "a"


def test_folders_are_labels_and_splits_as_those_of_pictures_are() -> None:
    file = archive(
        ("all/train/yes/1.wav", TONE), ("all/test/no/2.wav", TONE), ("all/test/3.wav", TONE)
    )
    found = [(row.split, row.label) for row in read(file) if isinstance(row, Row)]
    assert found == [("train", "yes"), ("test", "no"), ("test", None)]


def test_the_same_samples_are_the_same_sound_however_they_are_encoded() -> None:
    wav, flac = one(sound()), one(sound(kind="FLAC"), "a/1.flac")
    assert wav.key == flac.key
    assert wav.key != one(sound(hertz=441)).key
    assert wav.key != one(sound(rate=4000)).key


@pytest.mark.parametrize(
    "content",
    [
        b"no sound",
        sound()[:-300],
        sound(kind="FLAC")[:-200],
        sound(0.0),
        sound(kind="AIFF"),
        b"RIFF\xff\xff\xff\xffWAVEfmt ",
    ],
    ids=["words", "torn wav", "torn flac", "no samples", "another kind", "header alone"],
)
def test_a_broken_sound_is_left_out_with_its_name(content: bytes) -> None:
    name = "a/2.flac" if content[:4] == b"fLaC" else "a/2.wav"
    found = read(archive(("a/1.wav", TONE), (name, content)))
    left_out = [(one.code, one.source) for one in found if isinstance(one, LeftOut)]
    assert left_out == [("unreadable_sound", name)]


def test_samples_that_are_no_numbers_are_refused() -> None:
    out = io.BytesIO()
    soundfile.write(out, np.array([0.0, np.nan, 0.5]), RATE, format="WAV", subtype="FLOAT")
    (left,) = read(archive(("a/1.wav", out.getvalue())))
    assert isinstance(left, LeftOut)
    assert "no numbers" in left.detail


def test_silence_is_remarked() -> None:
    out = io.BytesIO()
    soundfile.write(out, np.zeros(100), RATE, format="WAV")
    assert one(out.getvalue()).remarks == ("silent_sound",)


@pytest.mark.parametrize(
    "limit", ["MOST_SECONDS", "MOST_RATE", "MOST_SOUND_BYTES", "MOST_CHANNELS"]
)
def test_a_monstrous_sound_refuses_the_whole(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(audio_folder, limit, 0)
    with pytest.raises(audio_folder.TooLarge, match=r"a/1\.wav"):
        read(archive(("a/1.wav", TONE)))


def test_a_small_file_that_holds_hours_is_stopped_while_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audio_folder, "MOST_SECONDS", 60)
    out = io.BytesIO()
    soundfile.write(out, np.zeros(RATE * 3600), RATE, format="FLAC")
    assert len(out.getvalue()) < 1 << 20
    with pytest.raises(audio_folder.TooLarge, match="longer than 60 seconds"):
        read(archive(("a/1.flac", out.getvalue())))


def test_sounds_that_are_not_read_say_what_to_do() -> None:
    with pytest.raises(BadFile, match="WAV, FLAC, MP3 or Ogg"):
        SOUNDS.sniff(archive(("a/1.m4a", b"x")), "x.zip")


def test_an_archive_is_of_what_it_mostly_holds() -> None:
    sounds = archive(("a/1.wav", TONE), ("a/2.wav", TONE), ("a/cover.png", PIXEL))
    pictures = archive(("a/1.png", PIXEL), ("a/2.png", PIXEL), ("a/jingle.wav", TONE))
    assert registry.recognise(sounds, "x.zip").key == "audio_folder"
    assert registry.recognise(pictures, "x.zip").key == "image_folder"
    assert registry.recognise(archive(("a.txt", b"x")), "x.zip").key == "image_folder"


def test_what_is_played_is_made_anew() -> None:
    content = sound(0.2, rate=44_100, channels=2, kind="FLAC")
    played = audio_folder.playable(content)
    assert played[:4] == b"RIFF"
    info = soundfile.info(io.BytesIO(played))
    assert (info.samplerate, info.channels, info.subtype) == (44_100, 1, "PCM_16")
    assert info.frames == 8820


def test_a_version_of_sounds(project: Project) -> None:
    files = [(f"{'ab'[n % 2]}/{n}.wav", sound(0.05 + n / 100, hertz=300 + n)) for n in range(20)]
    files += [("a/copy.flac", sound(0.05, hertz=300, kind="FLAC")), ("b/notes.txt", b"x")]
    version = uploaded(project, archive(*files).getvalue())
    assert (version.status, version.rows, version.format) == ("ready", 21, "audio_folder")
    assert version.dataset.task == "audio-classification"
    table = table_of(version)
    assert table.schema.names == [
        "row_id", "split", "label", "audio", "seconds", "source",
    ]  # fmt: skip
    assert table["audio"][0].as_py() == files[0][1]
    assert version.input_column == "audio"
    assert issues_of(version)["near_duplicate"] == 1
    assert issues_of(version)["not_a_sound"] == 1
    measures = version.statistics["measures"]
    assert measures["rate"]["maximum"] == RATE
    assert measures["milliseconds"]["minimum"] == 50
    assert version.statistics["kinds"] == {"WAV, mono": 20, "FLAC, mono": 1}
    played = version_rows.sound(version=version, row_id=3)
    assert soundfile.info(io.BytesIO(played)).duration == pytest.approx(0.08)
    rows = version_rows.rows(version=version, q="copy")
    assert rows[0]["seconds"] == 0.05
    assert "audio" not in rows[0]


def test_sounds_without_a_whole_one_fail_with_a_sentence(project: Project) -> None:
    version = uploaded(project, archive(("a/1.wav", b"x"), ("b/1.wav", b"y")).getvalue())
    assert "Not a single row" in error_of(version)["detail"]


def test_spoken_digits_are_understood_without_help(shared_data: Path, project: Project) -> None:
    version = uploaded(project, shared_data / "fsdd" / "fsdd_small.zip", name="digits")
    assert version.rows == 1200
    assert version.labels == [str(digit) for digit in range(10)]
    assert {name: split["rows"] for name, split in version.splits.items()} == {
        "train": 810,
        "validation": 90,
        "test": 300,
    }
    assert not [one for one in version.issues if one["severity"] == "error"]


def test_real_files_of_every_kind_are_whole(shared_data: Path) -> None:
    files = sorted((shared_data / "audio_formats").glob("*.*"))
    found = read(archive(*((f"a/{file.name}", file.read_bytes()) for file in files)))
    assert len(found) == len(files)
    assert all(isinstance(row, Row) for row in found)


def test_a_waveform_is_the_reach_of_the_samples_place_by_place() -> None:
    rate, places = 8000, waveforms.PLACES
    samples = np.concatenate([np.zeros(rate), np.linspace(-1, 1, rate)]).astype("float32")
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format="WAV", subtype="FLOAT")
    found = waveforms.peaks(out.getvalue())
    assert len(found) == places
    assert found[0] == (0.0, 0.0)
    assert found[places // 2][0] == pytest.approx(-1.0)
    assert found[-1][1] == pytest.approx(1.0)
    step = 2 / (places / 2)
    assert found[-1][1] - found[-1][0] == pytest.approx(step, rel=0.1)


@pytest.mark.parametrize("seconds", [0.0005, 0.3, 70.0])
def test_any_sound_is_drawn_within_its_frame(seconds: float) -> None:
    drawing = waveforms.drawn(sound(seconds, rate=4000))
    path = ElementTree.fromstring(drawing)[0].attrib["d"]
    bars = [one.split("v") for one in path.split("M")[1:]]
    assert 0 < len(bars) <= waveforms.PLACES
    for start, tall in bars:
        across, top = map(float, start.split())
        assert 0 <= across <= waveforms.WIDTH
        assert 0 <= top <= top + float(tall) <= waveforms.HEIGHT


def test_only_what_is_played_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waveforms, "PLAYED_SECONDS", 1)
    loud_later = np.concatenate([np.full(4000, 0.1), np.ones(4000)]).astype("float32")
    out = io.BytesIO()
    soundfile.write(out, loud_later, 4000, format="WAV")
    assert max(high for _, high in waveforms.peaks(out.getvalue())) < 0.2
