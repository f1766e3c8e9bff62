"""Sounds to numbers: decoded once, mixed to one channel, brought to one rate and one length.

Networks see the waveform itself, or one of three spectrograms on the mel scale. The spectrum of a
frame is |FFT(window * frame)|^2, a band is the sum of it under a triangle, and the feature is

    log_mel   ln(band + 1e-6), Hann window, mel(f) = 2595 log10(1 + f / 700), triangles over f
    kaldi     ln(max(band, 1.2e-7)) of a frame without its mean and with 0.97 of the sample before
              taken away, mel(f) = 1127 ln(1 + f / 700) from 20 Hz, triangles over mel(f)
              (torchaudio.compliance.kaldi.fbank; the Audio Spectrogram Transformer, 2104.01778)
    whisper   (max(log10(band), most - 8) + 4) / 4 of frames around their centre, Slaney's scale,
              triangles of one area (Radford et al., 2212.04356)
"""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from math import ceil, gcd
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
import soundfile
import torch
from numpy.typing import NDArray

from training.engine import data
from training.engine.data import Batch, Indices
from training.engine.errors import DataError

Features = Literal["waveform", "log_mel", "kaldi", "whisper"]
Floats = NDArray[np.float32]

HIGHEST = 16_000  # samples a second, unless the student asks for more
LONGEST = 30.0  # seconds, unless the student asks for more
COVERED = 0.95  # of the training rows stay whole where no length is asked for
LOOKED_AT = 2000  # training rows from which rate and length are taken
MEASURED = 500  # and of these, the rows from which mean and deviation are taken
ROWS_AT_ONCE = 64  # encoded sounds in memory
FULL = 32_768  # a sample of 1.0, as sixteen bits hold it


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an architecture asks for: a rate and a length (0: the data's own) and features."""

    features: Features = "waveform"
    rate: int = 0  # samples a second
    seconds: float = 0.0
    minimum: int = 1  # samples that its strides leave something of
    multiple: int = 1  # a spectrogram's frames must be divisible by this
    frames: int = 1  # of a spectrogram at least
    mels: int = 40
    window: float = 0.025  # seconds of one frame
    hop: float = 0.010  # seconds from one frame to the next
    scaled: bool = False  # each sound to mean 0 and deviation 1
    masked: bool = False  # the network is told which samples are real
    trimmed: bool = False  # padding changes no answer, so a batch ends with its longest sound


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundPreprocessing:
    features: Features
    rate: int  # samples a second
    samples: int  # at most: more are cut off
    minimum: int = 1  # samples at least: silence follows a shorter sound, and counts as real
    mels: int = 0  # bands
    window: int = 0  # samples of one frame
    hop: int = 0  # samples from one frame to the next
    mean: tuple[float, ...] = (0.0,)  # of features, by band or of all
    std: tuple[float, ...] = (1.0,)
    scaled: bool = False
    masked: bool = False
    trimmed: bool = False

    @property
    def frames(self) -> int:
        """Of a spectrogram of the greatest length; 0 of waveforms."""
        if self.features == "waveform":
            return 0
        if self.features == "whisper":
            return self.samples // self.hop
        return 1 + (max(self.samples, self.window) - self.window) // self.hop

    @property
    def digest(self) -> str:
        """Names the prepared arrays: equal digests mean equal features."""
        shape = [self.features, self.rate, self.samples, self.minimum]
        said = json.dumps([*shape, self.mels, self.window, self.hop])
        return hashlib.sha256(said.encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    def save(self, folder: Path) -> None:
        """`distillhub.json` holds it all; a `preprocessor_config.json` beside it says the same in
        the words of transformers, where it has words for it."""
        said: dict[str, Any] = {"sampling_rate": self.rate, "padding_value": 0.0}
        if self.features == "waveform":
            said |= {
                "feature_extractor_type": "Wav2Vec2FeatureExtractor",
                "feature_size": 1,
                "do_normalize": self.scaled,
                "return_attention_mask": self.masked,
            }
        elif self.features == "kaldi" and self.rate == HIGHEST:
            said |= {
                "feature_extractor_type": "ASTFeatureExtractor",
                "num_mel_bins": self.mels,
                "max_length": self.frames,
                "do_normalize": True,
                "mean": self.mean[0],
                "std": self.std[0] / 2,
            }
        else:
            return
        (folder / "preprocessor_config.json").write_text(json.dumps(said, indent=2))

    def prepare(self, path: Path, home: Path) -> "WaveInputs | SpectrogramInputs":
        """Every row of the dataset as features, once in `home`."""
        make = self._write_waves if self.features == "waveform" else self._write_spectrograms
        folder = data.prepared(home, self.digest[:32], lambda folder: make(path, folder))
        if self.features == "waveform":
            return WaveInputs(folder, self)
        return SpectrogramInputs(folder, self)

    def decode(self, content: bytes | None, row: int) -> Floats:
        """`[samples]` from -1 to 1 at this rate, cut to the greatest length and silent up to the
        least. Raises DataError naming the row."""
        with _open(content, row) as file:
            ratio = file.samplerate / self.rate
            wanted = ceil((self.samples + EDGE) * ratio)
            try:
                channels = file.read(wanted, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise _unreadable(row, error) from error
            wave = resampled(channels.mean(axis=1), file.samplerate, self.rate)[: self.samples]
        if not len(wave) or not np.isfinite(wave).all():
            raise DataError(f"The sound of row {row} holds nothing that can be heard.")
        return np.pad(wave, (0, max(0, self.minimum - len(wave))))

    def spectrogram(self, wave: Floats) -> Floats:
        """`[frames, mels]` of a waveform `[samples]`, as the module's words say; before mean and
        deviation are taken out. Silence follows up to the greatest length."""
        found = _spectrogram(wave, self)
        missing = self.frames - len(found)
        # Kaldi's users add zeros behind the logarithm: that is what its checkpoints know as silence
        silence = 0.0 if self.features == "kaldi" else float(np.log(FLOOR))
        return np.pad(found, ((0, max(0, missing)), (0, 0)), constant_values=silence)[: self.frames]

    def _write_waves(self, path: Path, folder: Path) -> None:
        lengths: list[int] = []
        with (folder / "waves.bin").open("wb") as out:
            for row, content in _contents(path):
                wave = sixteen_bits(self.decode(content, row))
                out.write(wave.tobytes())
                lengths.append(len(wave))
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        np.save(folder / "offsets.npy", offsets)

    def _write_spectrograms(self, path: Path, folder: Path) -> None:
        rows = pq.ParquetFile(path).metadata.num_rows
        shape = (rows, self.frames, self.mels)
        kept = np.lib.format.open_memmap(
            folder / "features.npy", mode="w+", dtype=np.float16, shape=shape
        )
        for row, content in _contents(path):
            kept[row] = self.spectrogram(self.decode(content, row))
        kept.flush()


class WaveInputs:
    """Samples of every row, end to end, in one memory-mapped array of sixteen bits."""

    def __init__(self, folder: Path, preprocessing: SoundPreprocessing) -> None:
        size = (folder / "waves.bin").stat().st_size
        # An empty file cannot be mapped; as a plain array, for the reason data.TextInputs gives.
        mapped = np.memmap(folder / "waves.bin", dtype=np.int16, mode="r") if size else np.empty(0)
        self.waves = mapped.view(np.ndarray)
        self.offsets = np.load(folder / "offsets.npy")  # [rows + 1], int64
        self.each = np.diff(self.offsets)
        self.scaled, self.masked = preprocessing.scaled, preprocessing.masked
        self.trimmed = preprocessing.trimmed
        self.longest = int(self.each.max(initial=1))

    @property
    def lengths(self) -> Indices | None:
        """Only where padding is harmless; else every row is as long as the dataset's longest."""
        return self.each if self.trimmed else None

    def batch(self, rows: Indices) -> Batch:
        """input_values, `[batch, longest]`, float32, 0 where padded; attention_mask, int64."""
        lengths = self.each[rows]
        longest = int(lengths.max()) if self.trimmed else self.longest
        waves = np.zeros((len(rows), longest), dtype=np.float32)
        for place, (row, length) in enumerate(zip(rows.tolist(), lengths.tolist(), strict=True)):
            start = self.offsets[row]
            wave = self.waves[start : start + length].astype(np.float32) / FULL
            if self.scaled:
                wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
            waves[place, :length] = wave
        batch = {"input_values": torch.from_numpy(waves)}
        if self.masked:
            inside = np.arange(longest) < lengths[:, None]
            batch["attention_mask"] = torch.from_numpy(inside.astype(np.int64))
        return batch


class SpectrogramInputs:
    """Spectrograms of every row, memory-mapped; standardised when a batch is made."""

    lengths: None = None

    def __init__(self, folder: Path, preprocessing: SoundPreprocessing) -> None:
        kept = np.load(folder / "features.npy", mmap_mode="r")
        self.kept = kept.view(np.ndarray)  # [rows, frames, mels], float16
        self.features = preprocessing.features
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.scale, self.shift = 1.0 / std, -mean / std

    def batch(self, rows: Indices) -> Batch:
        """Float32. log_mel: input_features `[batch, 1, mels, frames]`; kaldi: input_values
        `[batch, frames, mels]`; whisper: input_features `[batch, mels, frames]`."""
        plain = torch.from_numpy(self.kept[rows]).float()
        values = torch.addcmul(self.shift, plain, self.scale)
        if self.features == "kaldi":
            return {"input_values": values}
        values = values.transpose(1, 2).contiguous()
        return {"input_features": values if self.features == "whisper" else values[:, None]}


def measure(path: Path, rows: Indices, wish: Wish) -> SoundPreprocessing:
    """Rate, length, mean and deviation of the first training rows, as the student wishes."""
    looked_at = set(rows[:LOOKED_AT].tolist())
    rates: Counter[int] = Counter()
    seconds: list[float] = []
    for row, content in _contents(path, looked_at):
        with _open(content, row) as file:
            rates[file.samplerate] += 1
            seconds.append(file.frames / file.samplerate)
    rate = wish.rate or min(rates.most_common(1)[0][0], HIGHEST)
    longest = wish.seconds or min(float(np.quantile(seconds, COVERED, method="higher")), LONGEST)
    plain = fitted(wish, rate, longest)
    if wish.features in ("waveform", "whisper"):  # scaled sound by sound, if at all
        return plain
    mean, std = _moments(path, set(rows[:MEASURED].tolist()), plain)
    return SoundPreprocessing(**{**plain.as_dict(), "mean": mean, "std": std})


def fitted(wish: Wish, rate: int, seconds: float) -> SoundPreprocessing:
    """The preprocessing of a wish for sounds of this rate and length, without mean and deviation:
    a length that gives a whole number of frames, as many as the architecture can use."""
    samples = max(wish.minimum, round(seconds * rate))
    if wish.features == "waveform":
        return SoundPreprocessing(
            features="waveform",
            rate=rate,
            samples=samples,
            minimum=wish.minimum,
            scaled=wish.scaled,
            masked=wish.masked,
            trimmed=wish.trimmed,
        )
    window, hop = max(2, round(wish.window * rate)), max(1, round(wish.hop * rate))
    edge = 0 if wish.features == "whisper" else window - hop  # where frames end before the sound
    frames = max(wish.frames, -(-(samples - edge) // hop))
    frames = -(-frames // wish.multiple) * wish.multiple
    return SoundPreprocessing(
        features=wish.features,
        rate=rate,
        samples=frames * hop + edge,
        minimum=window,
        mels=wish.mels,
        window=window,
        hop=hop,
    )


def load(said: dict[str, Any]) -> SoundPreprocessing:
    """What `as_dict` said."""
    return SoundPreprocessing(**{**said, "mean": tuple(said["mean"]), "std": tuple(said["std"])})


def reach(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Samples that two frames of such convolutions look at: of a single one, some models make
    none, and exports hold it for a constant."""
    samples = 2
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=False):
        samples = (samples - 1) * stride + kernel
    return samples


def sixteen_bits(wave: Floats) -> NDArray[np.int16]:
    """Exact for what was sixteen bits before."""
    return np.clip(np.rint(wave * FULL), -FULL, FULL - 1).astype(np.int16)


def _moments(
    path: Path, rows: set[int], plain: SoundPreprocessing
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation over the frames of these rows, padding included as it is met: by band; of
    kaldi's, of all bands together and with the deviation doubled, as its checkpoints have it."""
    frames = 0
    total, squares = np.zeros(plain.mels), np.zeros(plain.mels)
    for row, content in _contents(path, rows):
        found = plain.spectrogram(plain.decode(content, row)).astype(np.float64)
        frames += len(found)
        total += found.sum(axis=0)
        squares += (found**2).sum(axis=0)
    mean, square, times = total / frames, squares / frames, 1.0
    if plain.features == "kaldi":
        mean, square, times = mean.mean(keepdims=True), square.mean(keepdims=True), 2.0
    std = times * np.sqrt(np.maximum(square - mean**2, 1e-6))
    return (
        tuple(round(float(one), 6) for one in mean),
        tuple(round(float(one), 6) for one in std),
    )


def _contents(path: Path, rows: set[int] | None = None) -> Iterator[tuple[int, bytes | None]]:
    """(row, encoded sound) of these rows, or of all, in the order of the file."""
    row = 0
    left = None if rows is None else len(rows)
    for piece in data.column(path, "audio", rows_at_once=ROWS_AT_ONCE):
        for content in piece:
            if rows is None or row in rows:
                yield row, content
                left = None if left is None else left - 1
            row += 1
        if left == 0:
            return


def _open(content: bytes | None, row: int) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(io.BytesIO(content or b""))
    except (soundfile.SoundFileError, ValueError) as error:
        raise _unreadable(row, error) from error


def _unreadable(row: int, error: Exception) -> DataError:
    return DataError(f"The sound of row {row} cannot be read: {error}")


# Resampling -----------------------------------------------------------------------------------

CROSSINGS = 32  # zero crossings of the sinc on either side
BETA = 9.0  # of the Kaiser window: what would alias is 90 dB down
ROLL_OFF = 0.94  # of the lower Nyquist frequency passes untouched
EDGE = 64  # samples beyond a cut that the filter looks at


def resampled(wave: Floats, before: int, after: int) -> Floats:
    """A waveform `[samples]` at another rate: polyphase filtering with a windowed sinc."""
    if before == after:
        return wave
    from scipy.signal import resample_poly  # noqa: PLC0415 - half a second, and not always needed

    common = gcd(before, after)
    up, down = after // common, before // common
    found: Floats = resample_poly(wave, up, down, window=_sinc(up, down)).astype(np.float32)
    return found


@lru_cache(maxsize=8)
def _sinc(up: int, down: int) -> NDArray[np.float32]:
    """The low-pass filter between two rates, with a gain of 1 (resample_poly adds `up`)."""
    slower = max(up, down)
    half = CROSSINGS * slower
    place = np.arange(-half, half + 1)
    taps = np.sinc(place * ROLL_OFF / slower) * np.kaiser(2 * half + 1, BETA)
    return np.asarray(taps / taps.sum(), dtype=np.float32)


# Spectrograms ---------------------------------------------------------------------------------

FLOOR = 1e-6
KALDI_FLOOR = 1.192092955078125e-07  # float32's least step, as Kaldi has it
WHISPER_FLOOR = 1e-10


def _spectrogram(wave: Floats, said: SoundPreprocessing) -> Floats:
    """`[frames, mels]`, as many frames as this waveform has."""
    size = 1 << (said.window - 1).bit_length()
    if said.features == "log_mel":
        power = _power(_framed(wave, said.window, said.hop), np.hanning(said.window), 2 * size)
        bands = power @ _filters("htk", said.mels, 2 * size, said.rate)
        return np.log(bands + FLOOR).astype(np.float32)
    if said.features == "kaldi":
        frames = _framed(wave, said.window, said.hop)
        frames = frames - frames.mean(axis=1, keepdims=True)
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        power = _power(frames - 0.97 * before, np.hanning(said.window), size)
        bands = power @ _filters("kaldi", said.mels, size, said.rate)
        return np.log(np.maximum(bands, KALDI_FLOOR)).astype(np.float32)
    # Whisper hears the silence behind a sound, too: its loudest band sets the scale for all.
    whole = np.pad(wave, (0, max(0, said.samples - len(wave))))
    around = np.pad(whole, said.window // 2, mode="reflect")
    hann = np.hanning(said.window + 1)[:-1]
    power = _power(_framed(around, said.window, said.hop)[:-1], hann, said.window)
    bands = power @ _filters("slaney", said.mels, said.window, said.rate)
    loud = np.log10(np.maximum(bands, WHISPER_FLOOR))
    quiet = loud.max() - 8.0
    return np.asarray((np.maximum(loud, quiet) + 4.0) / 4.0, dtype=np.float32)


def _framed(wave: Floats, window: int, hop: int) -> NDArray[np.float64]:
    """`[frames, window]`: every `hop` samples one, as many as fit."""
    if len(wave) < window:
        wave = np.pad(wave, (0, window - len(wave)))
    frames = np.lib.stride_tricks.sliding_window_view(wave.astype(np.float64), window)
    return frames[::hop]


def _power(
    frames: NDArray[np.float64], window: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    """`[frames, size // 2 + 1]`: the power of each frequency from 0 to half the rate."""
    spectrum = np.fft.rfft(frames * window, n=size, axis=1)
    power: NDArray[np.float64] = spectrum.real**2 + spectrum.imag**2
    return power


@lru_cache(maxsize=8)
def _filters(scale: str, mels: int, size: int, rate: int) -> NDArray[np.float64]:
    """`[size // 2 + 1, mels]`: what each frequency adds to each band."""
    hertz = np.linspace(0.0, rate / 2, size // 2 + 1)
    if scale == "kaldi":
        places = _mel(hertz)
        edges = np.linspace(_mel(np.array(20.0)), _mel(np.array(rate / 2)), mels + 2)
    elif scale == "htk":
        places = hertz
        edges = _hertz(np.linspace(0.0, _mel(np.array(rate / 2)), mels + 2))
    else:
        places = hertz
        edges = _slaney_hertz(np.linspace(0.0, _slaney(rate / 2), mels + 2))
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (places[:, None] - low) / (centre - low)
    falling = (high - places[:, None]) / (high - centre)
    filters: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    if scale == "slaney":
        filters = filters * (2.0 / (high - low))
    return filters


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1127.0 * np.log(1.0 + hertz / 700.0)


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return 700.0 * (np.exp(mel / 1127.0) - 1.0)


STEP = np.log(6.4) / 27.0  # Slaney: even up to 1000 Hz, 15 mel there, then growing by this


def _slaney(hertz: float) -> float:
    return 3.0 * hertz / 200.0 if hertz < 1000.0 else 15.0 + float(np.log(hertz / 1000.0)) / STEP


def _slaney_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15.0, 200.0 * mel / 3.0, 1000.0 * np.exp(STEP * (mel - 15.0)))
