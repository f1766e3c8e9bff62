"""Laws of augmentation: what happens to a row depends on the row, the epoch and the seed alone."""

import numpy as np
import pytest
import torch

from training.engine import augmentation
from training.engine.augmentation import Chance, augment
from training.engine.data import Batch

ROWS = np.array([7, 0, 123_456, 3, 99, 41])


def made(kind: str) -> Batch:
    chance = torch.Generator().manual_seed(0)
    if kind == "image":
        return {"pixel_values": torch.randn(6, 3, 16, 24, generator=chance)}
    if kind == "wave":
        lengths = torch.tensor([400, 90, 400, 250, 1, 33])
        mask = (torch.arange(400) < lengths[:, None]).long()
        waves = torch.randn(6, 400, generator=chance) * mask
        return {"input_values": waves, "attention_mask": mask}
    if kind == "spectrogram":
        return {"input_features": torch.randn(6, 1, 20, 50, generator=chance)}
    if kind == "whisper":
        return {"input_features": torch.randn(6, 20, 50, generator=chance)}
    return {"input_values": torch.randn(6, 50, 20, generator=chance)}


KINDS = ("image", "wave", "spectrogram", "whisper", "kaldi")


def changed(batch: Batch, strength: str, *, seed: int = 0, epoch: int = 0) -> Batch:
    return augment(batch, Chance(seed, epoch, ROWS), strength)


@pytest.mark.parametrize("strength", ["light", "strong"])
@pytest.mark.parametrize("kind", KINDS)
def test_shape_and_mask_stay_and_rows_change(kind: str, strength: str) -> None:
    batch = made(kind)
    before = {name: value.clone() for name, value in batch.items()}
    found = changed(batch, strength)
    for name, value in before.items():
        assert found[name].shape == value.shape
        assert found[name].dtype == value.dtype
        assert torch.equal(batch[name], value)  # the given tensors are left as they are
        assert torch.isfinite(found[name]).all()
    (name,) = set(batch) - {"attention_mask"}
    assert not torch.equal(found[name], before[name])
    if "attention_mask" in batch:
        assert torch.equal(found["attention_mask"], before["attention_mask"])
        assert not found[name][before["attention_mask"] == 0].any()


@pytest.mark.parametrize("strength", ["light", "strong"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_changes_in_the_same_way_whatever_stands_beside_it(kind: str, strength: str) -> None:
    batch = made(kind)
    together = changed(batch, strength)
    some = np.array([4, 1])
    alone = {name: value[some] for name, value in batch.items()}
    apart = augment(alone, Chance(0, 0, ROWS[some]), strength)
    for name, value in together.items():
        assert torch.equal(value[some], apart[name])


@pytest.mark.parametrize("kind", KINDS)
def test_epochs_and_seeds_change_it_and_the_same_ones_do_not(kind: str) -> None:
    batch = made(kind)
    (name,) = set(batch) - {"attention_mask"}
    first = changed(batch, "strong")[name]
    assert torch.equal(first, changed(batch, "strong")[name])
    assert not torch.equal(first, changed(batch, "strong", epoch=1)[name])
    assert not torch.equal(first, changed(batch, "strong", seed=1)[name])


def test_none_changes_nothing_and_texts_and_tables_are_left_alone() -> None:
    image = made("image")
    assert changed(image, "none") is image
    table = {"numbers": torch.randn(6, 3)}
    assert torch.equal(changed(table, "strong")["numbers"], table["numbers"])


def test_a_shifted_image_holds_the_pixels_it_had() -> None:
    image = torch.arange(16 * 24, dtype=torch.float32).reshape(1, 1, 16, 24).repeat(6, 1, 1, 1)
    found = changed({"pixel_values": image}, "light")["pixel_values"]
    for row in found:
        y, x = divmod(int(row[0, 8, 12]), 24)
        assert abs(y - 8) <= 2
        assert abs(x - 12) <= 3


def test_a_shifted_sound_loses_nothing() -> None:
    batch = made("wave")
    found = changed(batch, "light")["input_values"]
    for before, after in zip(batch["input_values"], found, strict=True):
        quieter = (after.norm() / before.norm()).item()
        assert 10 ** (-6 / 20) - 1e-4 < quieter < 10 ** (6 / 20) + 1e-4
        assert torch.allclose((after / quieter).sort().values, before.sort().values, atol=1e-4)


def test_chance_is_even_and_normal() -> None:
    chance = Chance(3, 5, np.arange(2000))
    even, normal = chance.uniform(50), chance.normal(51)
    assert 0.0 <= float(even.min()) < 0.001 < 0.999 < float(even.max()) < 1.0
    assert float(even.mean()) == pytest.approx(0.5, abs=0.005)
    assert normal.shape == (2000, 51)
    assert float(normal.mean()) == pytest.approx(0, abs=0.015)
    assert float(normal.std()) == pytest.approx(1, abs=0.015)
    neighbours = np.corrcoef(even[:-1].flatten().numpy(), even[1:].flatten().numpy())[0, 1]
    assert abs(neighbours) < 0.02


def test_every_choice_is_taken() -> None:
    batch = made("image")
    for strength in augmentation.CHOICES:
        assert changed(batch, strength)["pixel_values"].shape == batch["pixel_values"].shape
