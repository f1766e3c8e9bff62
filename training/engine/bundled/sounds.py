"""Sounds to waveforms and spectrograms: mixed to one channel, brought to one rate and length.

The three spectrograms are those that the model's own code describes: log_mel, kaldi and whisper.
"""

import io
from functools import lru_cache
from math import ceil, gcd
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

CROSSINGS, BETA, ROLL_OFF = 32, 9.0, 0.94  # of the resampling filter
EDGE = 64  # samples beyond a cut that the filter looks at
FULL = 32_768
AT_ONCE = 16_384  # samples that are resampled together
FLOOR, KALDI_FLOOR, WHISPER_FLOOR = 1e-6, 1.192092955078125e-07, 1e-10


class Inputs:
    def __init__(self, folder: Path, settings: dict[str, Any], shapes: dict[str, Any]) -> None:
        self.said = settings
        shape = shapes.get("input_values") or [None, None]
        self.fixed = shape[1] if isinstance(shape[1], int) else None  # samples, where they are

    def batch(self, sounds: list[Any]) -> dict[str, Any]:
        """input_values or input_features, and attention_mask where the network is told it."""
        waves = [self._decoded(one) for one in sounds]
        if self.said["features"] == "waveform":
            return self._waves(waves)
        mean = np.array(self.said["mean"], dtype=np.float32)
        std = np.array(self.said["std"], dtype=np.float32)
        plain = np.stack([self._spectrogram(wave) for wave in waves])
        kept = plain.astype(np.float16).astype(np.float32)  # as it was trained
        values = kept * (1.0 / std) + (-mean / std)
        if self.said["features"] == "kaldi":
            return {"input_values": values}
        values = np.ascontiguousarray(values.transpose(0, 2, 1))
        return {"input_features": values if self.said["features"] == "whisper" else values[:, None]}

    def _waves(self, waves: list[Any]) -> dict[str, Any]:
        sixteen = [np.clip(np.rint(one * FULL), -FULL, FULL - 1).astype(np.int16) for one in waves]
        longest = max(len(one) for one in sixteen)
        if not self.said["trimmed"] and self.fixed:
            longest = self.fixed
            sixteen = [one[:longest] for one in sixteen]
        values = np.zeros((len(waves), longest), dtype=np.float32)
        mask = np.zeros((len(waves), longest), dtype=np.int64)
        for place, one in enumerate(sixteen):
            wave = one.astype(np.float32) / FULL
            if self.said["scaled"]:
                wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
            values[place, : len(wave)] = wave
            mask[place, : len(wave)] = 1
        return {"input_values": values, "attention_mask": mask}

    def _decoded(self, content: bytes) -> Any:
        rate, samples = self.said["rate"], self.said["samples"]
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            wanted = ceil((samples + EDGE) * file.samplerate / rate)
            channels = file.read(wanted, dtype="float32", always_2d=True)
            wave = _resampled(channels.mean(axis=1), file.samplerate, rate)[:samples]
        return np.pad(wave, (0, max(0, self.said["minimum"] - len(wave))))

    def _spectrogram(self, wave: Any) -> Any:
        """`[frames, mels]`; silence follows up to the greatest length."""
        said, frames = self.said, self._frames()
        found = _bands(wave, said)
        silence = 0.0 if said["features"] == "kaldi" else float(np.log(FLOOR))
        missing = max(0, frames - len(found))
        return np.pad(found, ((0, missing), (0, 0)), constant_values=silence)[:frames]

    def _frames(self) -> int:
        samples, window, hop = (self.said[name] for name in ("samples", "window", "hop"))
        if self.said["features"] == "whisper":
            return int(samples // hop)
        return int(1 + (max(samples, window) - window) // hop)


def read(argument: str) -> bytes:
    return Path(argument).read_bytes()


def _resampled(wave: Any, before: int, after: int) -> Any:
    """At another rate: a windowed sinc, one phase of it for each sample that comes out."""
    if before == after:
        return wave
    common = gcd(before, after)
    up, down = after // common, before // common
    half = CROSSINGS * max(up, down)
    place = np.arange(-half, half + 1)
    taps = np.sinc(place * ROLL_OFF / max(up, down)) * np.kaiser(2 * half + 1, BETA)
    taps = (taps / taps.sum()).astype(np.float32).astype(np.float64) * up
    each = -(-len(taps) // up)
    phases = np.pad(taps, (0, each * up - len(taps))).reshape(each, up).T  # [up, each]
    long = np.pad(wave.astype(np.float64), (each, each + 1))
    many = -(-len(wave) * up // down)
    found = np.empty(many, dtype=np.float32)
    for start in range(0, many, AT_ONCE):
        at = np.arange(start, min(many, start + AT_ONCE)) * down + half
        places = np.minimum(at // up, len(wave) + each) - np.arange(each)[:, None] + each
        found[start : start + AT_ONCE] = (phases[at % up].T * long[places]).sum(axis=0)
    return found


def _bands(wave: Any, said: dict[str, Any]) -> Any:
    window, hop, mels, rate = (said[name] for name in ("window", "hop", "mels", "rate"))
    size = 1 << (window - 1).bit_length()
    if said["features"] == "log_mel":
        power = _power(_framed(wave, window, hop), np.hanning(window), 2 * size)
        return np.log(power @ _filters("htk", mels, 2 * size, rate) + FLOOR).astype(np.float32)
    if said["features"] == "kaldi":
        frames = _framed(wave, window, hop)
        frames = frames - frames.mean(axis=1, keepdims=True)
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        power = _power(frames - 0.97 * before, np.hanning(window), size)
        bands = power @ _filters("kaldi", mels, size, rate)
        return np.log(np.maximum(bands, KALDI_FLOOR)).astype(np.float32)
    whole = np.pad(wave, (0, max(0, said["samples"] - len(wave))))
    around = np.pad(whole, window // 2, mode="reflect")
    hann = np.hanning(window + 1)[:-1]
    power = _power(_framed(around, window, hop)[:-1], hann, window)
    loud = np.log10(np.maximum(power @ _filters("slaney", mels, window, rate), WHISPER_FLOOR))
    return ((np.maximum(loud, loud.max() - 8.0) + 4.0) / 4.0).astype(np.float32)


def _framed(wave: Any, window: int, hop: int) -> Any:
    if len(wave) < window:
        wave = np.pad(wave, (0, window - len(wave)))
    return np.lib.stride_tricks.sliding_window_view(wave.astype(np.float64), window)[::hop]


def _power(frames: Any, window: Any, size: int) -> Any:
    spectrum = np.fft.rfft(frames * window, n=size, axis=1)
    return spectrum.real**2 + spectrum.imag**2


@lru_cache(maxsize=4)
def _filters(scale: str, mels: int, size: int, rate: int) -> Any:
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
    filters = np.maximum(0.0, np.minimum(rising, falling))
    return filters * (2.0 / (high - low)) if scale == "slaney" else filters


def _mel(hertz: Any) -> Any:
    return 1127.0 * np.log(1.0 + hertz / 700.0)


def _hertz(mel: Any) -> Any:
    return 700.0 * (np.exp(mel / 1127.0) - 1.0)


STEP = np.log(6.4) / 27.0


def _slaney(hertz: float) -> float:
    return 3.0 * hertz / 200.0 if hertz < 1000.0 else 15.0 + float(np.log(hertz / 1000.0)) / STEP


def _slaney_hertz(mel: Any) -> Any:
    return np.where(mel < 15.0, 200.0 * mel / 3.0, 1000.0 * np.exp(STEP * (mel - 15.0)))
