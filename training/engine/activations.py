"""What happens inside two networks, made comparable: places, masks, widths.

A layer's output is `[batch, width]`, `[batch, time, width]` or `[batch, channels, height, width]`;
here it becomes `[batch, places, width]`. Places that hold no token never count.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

TINY = 1e-12  # beside a squared length: keeps directions of vectors of length 0 differentiable


def precise(tensor: Tensor) -> Tensor:
    """In float32 at least."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def alike(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Two layers as `[batch, places, width]`; the larger of two maps is pooled to the smaller.

    Raises ValueError with a sentence when their places are not the same.
    """
    student, teacher = precise(student), precise(teacher)
    if student.ndim == teacher.ndim == 4:
        student, teacher = pooled_alike(student, teacher)
    one, two = by_place(student), by_place(teacher)
    if student.ndim != teacher.ndim or one.shape[1] != two.shape[1]:
        raise ValueError(
            f"A layer of the student has {_places(student)} and one of the teacher "
            f"{_places(teacher)}, so they cannot be compared place by place."
        )
    return one, two


def pooled_alike(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps `[batch, channels, height, width]` at the smaller height and width of both."""
    height = min(student.shape[2], teacher.shape[2])
    width = min(student.shape[3], teacher.shape[3])
    return _pooled(student, height, width), _pooled(teacher, height, width)


def _pooled(maps: Tensor, height: int, width: int) -> Tensor:
    if maps.shape[2:] == (height, width):
        return maps
    return F.adaptive_avg_pool2d(maps, (height, width))


def _places(layer: Tensor) -> str:
    if layer.ndim == 4:
        return f"a map of {layer.shape[2]} by {layer.shape[3]} places"
    return "one place" if layer.ndim == 2 else f"a row of {layer.shape[1]} places"


def by_place(layer: Tensor) -> Tensor:
    """`[batch, places, width]` of any layer."""
    if layer.ndim == 4:
        return layer.flatten(2).transpose(1, 2)
    return layer.unsqueeze(1) if layer.ndim == 2 else layer


def width(layer: Tensor) -> int:
    """Numbers at one place: channels of maps."""
    return int(layer.shape[1] if layer.ndim == 4 else layer.shape[-1])


def real_places(layer: Tensor, mask: Tensor | None) -> Tensor | None:
    """The mask, where it speaks about this layer's places."""
    if mask is None or layer.ndim != 3 or mask.shape != layer.shape[:2]:
        return None
    return mask


def average(layer: Tensor, mask: Tensor | None) -> Tensor:
    """The mean over a layer's real places, `[batch, width]`."""
    real = real_places(layer, mask)
    places = by_place(precise(layer))
    if real is None:
        return places.mean(dim=1)
    kept = places.masked_fill(~real.unsqueeze(-1), 0.0)
    return kept.sum(dim=1) / real.sum(dim=1, keepdim=True).clamp(min=1)


def samples(layer: Tensor, mask: Tensor | None) -> Tensor:
    """Every real place as a row of its own, `[places of the batch, width]`; maps are averaged."""
    if layer.ndim != 3:
        return average(layer, None)
    real = real_places(layer, mask)
    return layer.flatten(0, 1) if real is None else layer[real]


def mean_square(difference: Tensor, real: Tensor | None) -> Tensor:
    """The mean over real places of the sum of squares of `[batch, places, width]`, `[batch]`."""
    if real is None:
        return difference.square().sum(dim=(1, 2)) / difference.shape[1]
    kept = difference.masked_fill(~real.unsqueeze(-1), 0.0)
    return kept.square().sum(dim=(1, 2)) / real.sum(dim=1).clamp(min=1)


def direction(vectors: Tensor) -> Tensor:
    """Of length 1 along the last dimension; vectors of length 0 stay so."""
    return vectors * (vectors.square().sum(dim=-1, keepdim=True) + TINY).rsqrt()
