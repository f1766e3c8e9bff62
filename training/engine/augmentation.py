"""Changed copies of what is learned from: images shifted and turned round, sounds shifted, hidden
and made noisy. Text and tables stay as they are.

What happens to a row is a pure function of (seed, epoch, row): neither the rows beside it, nor the
size of a batch, nor the process that trains on it changes anything. So a resumed run, an
accumulated step and two processes see what one process sees in one go. A `View` is a whole set of
changed copies under a number, the same wherever its row is met: a teacher can be asked about it
ahead.

    images   light: shifted by up to an eighth of a side (He et al., 1512.03385, section 4.2)
             strong: and turned round half of the time, and a square of a quarter of the side hidden
             (DeVries, Taylor: Cutout, 1708.04552)
    sounds   light: shifted by up to a tenth, round the end; waveforms up to 6 dB louder or softer
             strong: and noise 20 to 40 dB below the sound, and two stretches of up to a tenth
             hidden; of spectrograms as many stripes of bands, too (Park et al.: SpecAugment,
             1904.08779)
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from training.engine.data import Batch, Indices, Inputs

CHOICES = ("none", "light", "strong")
TASKS = ("image-classification", "audio-classification")

SHIFT = 1 / 8  # of a side
SQUARE = 1 / 4  # of a side
ROLL = 1 / 10  # of a sound's length
GAIN = 6.0  # dB
NOISE = (20.0, 40.0)  # dB below the sound
STRETCHES = 2
STRETCH = 1 / 10  # of a sound's length
STRIPE = 1 / 8  # of the bands


class Chance:
    """Random numbers of each row of a batch, a stream of its own for each: the splitmix64 hash
    (Steele et al.: Fast Splittable Pseudorandom Number Generators, 2014) of (seed, epoch, row) and
    a counter."""

    def __init__(self, seed: int, epoch: int, rows: Indices) -> None:
        start = _mixed(_mixed(np.uint64(seed & MASK)) + np.uint64(epoch & MASK))
        self.state = _mixed(start + rows.astype(np.uint64))  # [rows]
        self.drawn = 0

    def __len__(self) -> int:
        return len(self.state)

    def uniform(self, each: int = 1) -> Tensor:
        """`[rows, each]` from 0 up to 1, float32; other numbers with every call."""
        place = np.arange(self.drawn + 1, self.drawn + each + 1, dtype=np.uint64)
        self.drawn += each
        mixed = _mixed(self.state[:, None] + place * GOLDEN)
        return torch.from_numpy((mixed >> np.uint64(40)).astype(np.float32) / (1 << 24))

    def normal(self, each: int) -> Tensor:
        """`[rows, each]` of the standard normal distribution (Box, Muller 1958). The first of them
        are the same however many are asked for."""
        half = -(-each // 2)
        draws = self.uniform(2 * half)
        radius = torch.sqrt(-2.0 * torch.log1p(-draws[:, 0::2]))
        angle = 2.0 * torch.pi * draws[:, 1::2]
        pairs = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=2)
        return pairs.flatten(1)[:, :each]


@dataclass(frozen=True, slots=True)
class View:
    """One changed copy of every row, by its number: a pure function of (seed, number, row id)."""

    strength: str
    seed: int
    number: int

    @property
    def name(self) -> str:
        """Names it beside other views of the same rows, and beside those of other seeds."""
        return f"{self.strength} view {self.number} of seed {self.seed}"

    def of(self, batch: Batch, row_ids: Indices) -> Batch:
        """The batch as this view has it; `row_ids` are those of its rows."""
        return augment(batch, Chance(self.seed, self.number, row_ids), self.strength)


class Viewed:
    """Inputs as a view has them."""

    def __init__(self, inputs: Inputs, view: View, row_ids: Indices) -> None:
        self.lengths = inputs.lengths
        self._inputs, self._view, self._row_ids = inputs, view, row_ids

    def batch(self, rows: Indices) -> Batch:
        return self._view.of(self._inputs.batch(rows), self._row_ids[rows])


def augment(batch: Batch, chance: Chance, strength: str) -> Batch:
    """The batch with its images or sounds changed; masks and everything else as they are.

    `chance` has a row for each of the batch's; tensors are on the CPU. `none`, and inputs that are
    neither images nor sounds, give the batch itself.
    """
    if strength == "none":
        return batch
    strong = strength == "strong"
    if "pixel_values" in batch:
        return {**batch, "pixel_values": _image(batch["pixel_values"], chance, strong)}
    if "input_features" in batch:
        values = batch["input_features"]
        flat = values if values.ndim == 3 else values[:, 0]
        return {**batch, "input_features": _spectrogram(flat, chance, strong).view_as(values)}
    if "input_values" in batch:
        values = batch["input_values"]
        if values.ndim == 3:  # [batch, frames, mels]
            turned = _spectrogram(values.transpose(1, 2), chance, strong)
            return {**batch, "input_values": turned.transpose(1, 2).contiguous()}
        return {**batch, "input_values": _wave(values, batch.get("attention_mask"), chance, strong)}
    return batch


def _image(pixels: Tensor, chance: Chance, strong: bool) -> Tensor:
    """`[batch, channels, height, width]`; what a shift leaves free repeats the edge."""
    height, width = pixels.shape[-2:]
    most_y, most_x = int(height * SHIFT), int(width * SHIFT)
    draws = chance.uniform(5)
    y = _whole(draws[:, 0], 2 * most_y)[:, None] + torch.arange(height)
    x = _whole(draws[:, 1], 2 * most_x)[:, None] + torch.arange(width)
    if strong:
        x = torch.where(draws[:, 2:3] < 0.5, x.flip(1), x)
    padded = F.pad(pixels, (most_x, most_x, most_y, most_y), mode="replicate")
    rows = torch.arange(len(pixels))[:, None, None, None]
    channels = torch.arange(pixels.shape[1])[None, :, None, None]
    moved = padded[rows, channels, y[:, None, :, None], x[:, None, None, :]]
    if not strong:
        return moved
    top = _inside(height, draws[:, 3], max(1, int(height * SQUARE)))
    left = _inside(width, draws[:, 4], max(1, int(width * SQUARE)))
    return moved.masked_fill((top[:, :, None] & left[:, None, :])[:, None], 0.0)


def _wave(waves: Tensor, mask: Tensor | None, chance: Chance, strong: bool) -> Tensor:
    """`[batch, samples]`; only real samples change."""
    samples = waves.shape[1]
    lengths = torch.full((len(waves),), samples) if mask is None else mask.sum(dim=1)
    changed = _rolled(waves, lengths, chance.uniform()[:, 0])
    decibels = (2.0 * chance.uniform() - 1.0) * GAIN
    changed = changed * 10.0 ** (decibels / 20.0)
    if not strong:
        return changed
    real = torch.arange(samples) < lengths[:, None]
    power = (changed**2).sum(dim=1, keepdim=True) / lengths[:, None]
    low, high = NOISE
    below = low + (high - low) * chance.uniform()
    hidden = _stretches(samples, lengths, chance)
    # Drawn last: as many numbers as the longest sound beside this one has samples.
    noise = chance.normal(samples) * torch.sqrt(power * 10.0 ** (-below / 10.0))
    return (changed + noise * real).masked_fill(hidden, 0.0)


def _spectrogram(features: Tensor, chance: Chance, strong: bool) -> Tensor:
    """`[batch, bands, frames]`, standardised, so that 0 is the mean: what hidden places become."""
    bands, frames = features.shape[1:]
    whole = torch.full((len(features),), frames)
    by_frame = features.transpose(1, 2)
    changed = _rolled(by_frame, whole, chance.uniform()[:, 0]).transpose(1, 2)
    if not strong:
        return changed
    loud = features.std(dim=(1, 2), keepdim=True)
    low, high = NOISE
    below = (low + (high - low) * chance.uniform())[:, :, None]
    noise = chance.normal(bands * frames).view_as(features) * loud * 10.0 ** (-below / 20.0)
    changed = changed + noise
    changed = changed.masked_fill(_stretches(frames, whole, chance)[:, None, :], 0.0)
    for _ in range(STRETCHES):
        draws = chance.uniform(2)
        width = (draws[:, 0] * (bands * STRIPE + 1)).long()
        stripe = _inside(bands, draws[:, 1], width)
        changed = changed.masked_fill(stripe[:, :, None], 0.0)
    return changed


def _rolled(values: Tensor, lengths: Tensor, draws: Tensor) -> Tensor:
    """`[batch, time, ...]`, each row shifted within its length; what leaves comes in again."""
    places = torch.arange(values.shape[1])
    by = ((2.0 * draws - 1.0) * ROLL * lengths).long()[:, None]
    ends = lengths.clamp(min=1)[:, None]
    source = torch.where(places < ends, (places - by) % ends, places)
    return values[torch.arange(len(values))[:, None], source]


def _stretches(time: int, lengths: Tensor, chance: Chance) -> Tensor:
    """`[batch, time]`, True in some stretches within each row's length."""
    hidden = torch.zeros((len(lengths), time), dtype=torch.bool)
    for _ in range(STRETCHES):
        draws = chance.uniform(2)
        width = (draws[:, 0] * (lengths * STRETCH + 1)).long()
        start = (draws[:, 1] * (lengths - width + 1).clamp(min=1)).long()
        places = torch.arange(time)
        hidden |= (places >= start[:, None]) & (places < (start + width)[:, None])
    return hidden


def _inside(size: int, draws: Tensor, width: Tensor | int) -> Tensor:
    """`[batch, size]`, True in a stretch of this width somewhere."""
    start = (draws * (size - width + 1)).long()
    places = torch.arange(size)
    ends = start + width
    return (places >= start[:, None]) & (places < ends[:, None])


def _whole(draws: Tensor, most: int) -> Tensor:
    """Whole numbers from 0 to `most`."""
    return (draws * (most + 1)).long()


MASK = (1 << 64) - 1
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def _mixed(state: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """splitmix64's finalizer: every bit of the state changes about half of the result's."""
    with np.errstate(over="ignore"):
        mixed = np.asarray(state, dtype=np.uint64) + GOLDEN
        mixed = (mixed ^ (mixed >> np.uint64(30))) * FIRST
        mixed = (mixed ^ (mixed >> np.uint64(27))) * SECOND
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))
