"""What every small image network shares: the size of the image it sees."""

from dataclasses import dataclass

from training.engine.options import option


@dataclass(frozen=True, slots=True)
class Pixels:
    image_size: int = option(
        0,
        minimum=0,
        maximum=1024,
        help="Images are resized to this many pixels a side; 0 keeps the commonest size in the "
        "training rows, at most 224.",
    )
