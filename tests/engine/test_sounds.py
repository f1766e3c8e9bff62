"""Sounds: decoded, resampled, and turned into what networks hear."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from training.engine import sounds
from training.engine.errors import DataError
from training.engine.sounds import SoundPreprocessing, Wish
from training.engine.teachers import folder as checkpoints

RATE = 8000
ROWS = np.arange(6, dtype=np.int64)


def tone(hertz: float, seconds: float, rate: int = RATE, loud: float = 0.5) -> sounds.Floats:
    time = np.arange(round(seconds * rate)) / rate
    return np.asarray(loud * np.sin(2 * np.pi * hertz * time), dtype=np.float32)


def encoded(wave: NDArray[Any], rate: int = RATE, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=kind)
    return file.getvalue()


def dataset(path: Path, contents: list[bytes]) -> Path:
    pq.write_table(pa.table({"audio": pa.array(contents, pa.binary())}), path)
    return path


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six tones of 0.1 to 0.6 seconds."""
    contents = [encoded(tone(200 * (n + 1), (n + 1) / 10)) for n in range(6)]
    return dataset(tmp_path_factory.mktemp("tones") / "rows.parquet", contents)


WAVES = SoundPreprocessing(features="waveform", rate=RATE, samples=RATE)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_every_format_is_decoded(kind: str) -> None:
    wave = tone(440, 0.5)
    found = WAVES.decode(encoded(wave, kind=kind), 0)
    middle = slice(1000, 3000)
    assert len(found) >= len(wave) - 1
    # Lossy formats may delay a sound; its pitch and loudness stay.
    spectrum = np.abs(np.fft.rfft(found[middle] * np.hanning(2000)))
    assert int(spectrum.argmax()) == 440 * 2000 // RATE
    assert found[middle].std() == pytest.approx(wave.std(), rel=0.05)


def test_sixteen_bits_survive_to_the_bit() -> None:
    whole = np.random.default_rng(0).integers(-32768, 32768, size=500).astype(np.int16)
    found = WAVES.decode(encoded(whole), 0)
    assert np.array_equal(sounds.sixteen_bits(found), whole)


def test_channels_are_mixed() -> None:
    left, right = tone(300, 0.1), tone(500, 0.1)
    found = WAVES.decode(encoded(np.stack([left, right], axis=1)), 0)
    assert np.abs(found - (left + right) / 2).max() < 1e-4


@pytest.mark.parametrize(("before", "after"), [(44_100, 16_000), (8000, 16_000), (22_050, 8000)])
def test_a_tone_keeps_its_loudness_at_another_rate(before: int, after: int) -> None:
    lower = min(before, after) / 2
    for hertz in (200.0, 0.8 * lower):
        found = sounds.resampled(tone(hertz, 1.0, before), before, after)
        assert len(found) == pytest.approx(after, abs=1)
        expected = tone(hertz, 1.0, after)[1000:-1000]
        assert np.abs(found[1000 : 1000 + len(expected)] - expected).max() < 0.001


def test_what_the_lower_rate_cannot_hold_is_gone() -> None:
    found = sounds.resampled(tone(7000, 1.0, 16_000), 16_000, 8000)
    assert 20 * np.log10(np.abs(found[500:-500]).max() / 0.5) < -80


def test_a_cut_before_resampling_changes_nothing() -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 44_100).astype(np.float32)
    kept = (sounds.sixteen_bits(wave) / sounds.FULL).astype(np.float32)
    whole = sounds.resampled(kept, 44_100, RATE)
    found = SoundPreprocessing(features="waveform", rate=RATE, samples=3000).decode(
        encoded(wave, 44_100), 0
    )
    assert len(found) == 3000
    assert np.abs(found - whole[:3000]).max() < 1e-4


@pytest.mark.parametrize("content", [b"", None, b"RIFF" + bytes(60), encoded(np.zeros(0))])
def test_a_sound_that_cannot_be_heard_is_named_by_its_row(content: bytes | None) -> None:
    with pytest.raises(DataError, match="row 7"):
        WAVES.decode(content, 7)


def test_rate_and_length_come_from_the_training_rows(tones: Path) -> None:
    every = sounds.measure(tones, ROWS, Wish())
    assert (every.rate, every.samples) == (RATE, round(0.6 * RATE))
    assert sounds.measure(tones, ROWS[:3], Wish()).samples == round(0.3 * RATE)
    asked = sounds.measure(tones, ROWS, Wish(rate=16_000, seconds=0.25))
    assert (asked.rate, asked.samples) == (16_000, 4000)


def test_a_high_rate_is_lowered_unless_asked_for(tmp_path: Path) -> None:
    path = dataset(tmp_path / "rows.parquet", [encoded(tone(440, 0.1, 48_000), 48_000)])
    rows = np.zeros(1, dtype=np.int64)
    assert sounds.measure(path, rows, Wish()).rate == 16_000
    assert sounds.measure(path, rows, Wish(rate=48_000)).rate == 48_000


def test_waves_are_padded_and_told_apart_from_padding(tones: Path, tmp_path: Path) -> None:
    wish = Wish(minimum=900, scaled=True, masked=True, trimmed=True)
    inputs = sounds.measure(tones, ROWS, wish).prepare(tones, tmp_path)
    assert isinstance(inputs, sounds.WaveInputs)
    assert inputs.lengths is not None
    assert inputs.lengths.tolist() == [900, 1600, 2400, 3200, 4000, 4800]
    batch = inputs.batch(np.array([2, 1]))
    assert batch["input_values"].shape == (2, 2400)
    assert batch["attention_mask"].sum(dim=1).tolist() == [2400, 1600]
    assert not batch["input_values"][1, 1600:].any()
    real = batch["input_values"][1, :1600]
    assert float(real.mean()) == pytest.approx(0, abs=1e-6)
    assert float(real.std(correction=0)) == pytest.approx(1, abs=1e-4)


def test_a_rows_waveform_has_one_length_where_padding_matters(tones: Path, tmp_path: Path) -> None:
    inputs = sounds.measure(tones, ROWS, Wish()).prepare(tones, tmp_path)
    assert inputs.lengths is None
    assert inputs.batch(np.array([0]))["input_values"].shape == (1, 4800)


def test_spectrograms_are_standardised_by_band(tones: Path, tmp_path: Path) -> None:
    preprocessing = sounds.measure(tones, ROWS, Wish(features="log_mel", mels=12))
    batch = preprocessing.prepare(tones, tmp_path).batch(ROWS)
    features = batch["input_features"]
    assert features.shape == (6, 1, 12, preprocessing.frames)
    assert torch.allclose(features.mean(dim=(0, 1, 3)), torch.zeros(12), atol=1e-2)
    assert torch.allclose(features.std(dim=(0, 1, 3)), torch.ones(12), atol=2e-2)


def test_a_tone_is_loudest_in_its_own_band() -> None:
    said = sounds.fitted(Wish(features="log_mel", mels=20), RATE, 0.5)
    loudest = [said.spectrogram(tone(hertz, 0.5)).mean(axis=0).argmax() for hertz in (300, 900)]
    edges = sounds._hertz(np.linspace(0.0, float(sounds._mel(np.array(RATE / 2))), 22))
    for hertz, band in zip((300, 900), loudest, strict=True):
        assert edges[band] < hertz < edges[band + 2]


def test_what_is_said_of_preprocessing_makes_it_again(tones: Path) -> None:
    every: tuple[sounds.Features, ...] = ("waveform", "log_mel", "kaldi", "whisper")
    for features in every:
        said = sounds.measure(tones, ROWS, Wish(features=features))
        assert sounds.load(said.as_dict()) == said


def test_kaldi_features_are_those_of_transformers() -> None:
    from transformers import ASTFeatureExtractor

    wave = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
    extractor = ASTFeatureExtractor(num_mel_bins=64, max_length=160)
    wanted = extractor(wave, sampling_rate=16_000)["input_values"][0]
    said = sounds.fitted(Wish(features="kaldi", mels=64, frames=160), 16_000, 1.0)
    found = (said.spectrogram(wave) + 4.2677393) / (2 * 4.5689974)
    assert said.frames == 160
    assert np.abs(found - wanted).max() < 1e-5


def test_whisper_features_are_those_of_transformers() -> None:
    from transformers import WhisperFeatureExtractor

    wave = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
    extractor = WhisperFeatureExtractor(chunk_length=2)
    wanted = extractor(wave, sampling_rate=16_000)["input_features"][0]
    said = sounds.fitted(Wish(features="whisper", mels=80, multiple=2), 16_000, 2.0)
    assert np.abs(said.spectrogram(wave).T - wanted).max() < 1e-4


def test_scaled_waves_are_those_of_transformers(tones: Path, tmp_path: Path) -> None:
    from transformers import Wav2Vec2FeatureExtractor

    said = sounds.measure(tones, ROWS, Wish(scaled=True, masked=True, trimmed=True))
    found = said.prepare(tones, tmp_path).batch(ROWS[:3])
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=RATE, return_attention_mask=True)
    waves = [said.decode(encoded(tone(200 * (n + 1), (n + 1) / 10)), n) for n in range(3)]
    wanted = extractor(waves, sampling_rate=RATE, padding=True, return_tensors="np")
    assert np.abs(found["input_values"].numpy() - wanted["input_values"]).max() < 1e-4
    assert np.array_equal(found["attention_mask"].numpy(), wanted["attention_mask"])


@pytest.mark.parametrize("features", ["waveform", "kaldi"])
def test_a_models_folder_says_it_in_the_words_of_transformers(
    features: Any, tones: Path, tmp_path: Path
) -> None:
    from transformers import AutoFeatureExtractor

    wish = Wish(features=features, rate=16_000, mels=32, frames=16, scaled=True)
    said = sounds.measure(tones, ROWS, wish)
    said.save(tmp_path)
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert extractor.sampling_rate == 16_000
    if features == "kaldi":
        assert (extractor.num_mel_bins, extractor.max_length) == (32, said.frames)
        assert (extractor.mean, 2 * extractor.std) == pytest.approx((said.mean[0], said.std[0]))


@pytest.mark.parametrize(
    ("config", "preprocessor", "wanted"),
    [
        (
            {"model_type": "wav2vec2", "feat_extract_norm": "group", "conv_kernel": [10, 3]}
            | {"conv_stride": [5, 2]},
            {"sampling_rate": 16_000, "do_normalize": True, "return_attention_mask": False},
            {"features": "waveform", "minimum": 30, "scaled": True, "masked": False}
            | {"trimmed": False, "samples": 480_000},
        ),
        (
            {"model_type": "hubert", "feat_extract_norm": "layer"},
            {"sampling_rate": 8000, "do_normalize": False, "return_attention_mask": True},
            {"rate": 8000, "scaled": False, "masked": True, "trimmed": True},
        ),
        (
            {"model_type": "audio-spectrogram-transformer", "max_length": 128},
            {"sampling_rate": 16_000, "num_mel_bins": 128, "mean": -6.0, "std": 3.0},
            {"features": "kaldi", "frames": 128, "mean": (-6.0,), "std": (6.0,), "window": 400},
        ),
        (
            {"model_type": "whisper", "max_source_positions": 1500, "num_mel_bins": 128},
            {"sampling_rate": 16_000, "n_fft": 400, "hop_length": 160},
            {"features": "whisper", "frames": 3000, "mels": 128, "samples": 480_000},
        ),
    ],
    ids=["wav2vec2", "hubert", "spectrogram transformer", "whisper"],
)
def test_a_checkpoints_own_files_say_how_it_hears(
    tmp_path: Path, config: dict[str, Any], preprocessor: dict[str, Any], wanted: dict[str, Any]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    found = checkpoints.preprocessing(tmp_path, "audio-classification")
    assert {name: getattr(found, name) for name in wanted} == wanted


def test_real_files_of_every_kind_are_heard(shared_data: Path) -> None:
    files = sorted((shared_data / "audio_formats").glob("*.*"))
    said = SoundPreprocessing(features="waveform", rate=16_000, samples=32_000)
    for file in files:
        found = said.decode(file.read_bytes(), 0)
        assert len(found) == 32_000
        assert 0.001 < found.std() < 0.5
    pair = [shared_data / "audio_formats" / f"test1_22050.{kind}" for kind in ("mp3", "wav")]
    first, second = (said.decode(file.read_bytes(), 0) for file in pair)
    assert np.corrcoef(first, second)[0, 1] > 0.99
