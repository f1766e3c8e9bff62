"""Windows as sketches: a few kilobytes from which every score of drift is computed.

A reference is fitted once to bins (`fit`); a window is counted in them (`bins.sketch(values)`).
Sketches of the same bins are merged (hours to days to weeks) and that is the sketch of all their
rows; counts, quantiles and chosen rows to the bit, sums of floats to rounding. A row is never read
again. Bins and sketches are plain JSON, with arrays as text.
"""

import json
import zlib
from typing import Any

from training.engine.sketches.categories import CategoryBins, CategorySketch
from training.engine.sketches.embeddings import EmbeddingBins, EmbeddingSketch
from training.engine.sketches.numbers import NumberBins, NumberSketch
from training.engine.sketches.packing import JSON

__all__ = [
    "BINS",
    "SKETCHES",
    "Bins",
    "CategoryBins",
    "CategorySketch",
    "EmbeddingBins",
    "EmbeddingSketch",
    "NumberBins",
    "NumberSketch",
    "Sketch",
    "fit",
    "from_bytes",
    "read",
    "read_bins",
    "to_bytes",
]

Bins = NumberBins | CategoryBins | EmbeddingBins
Sketch = NumberSketch | CategorySketch | EmbeddingSketch
BINS: dict[str, Any] = {
    "numbers": NumberBins,
    "categories": CategoryBins,
    "embeddings": EmbeddingBins,
}
SKETCHES: dict[str, Any] = {
    "numbers": NumberSketch,
    "categories": CategorySketch,
    "embeddings": EmbeddingSketch,
}


def fit(kind: str, values: Any) -> Any:
    """The bins of a reference. `kind` is one of BINS."""
    return BINS[kind].fit(values)


def read_bins(said: JSON) -> Any:
    """Bins from what `as_dict` said."""
    return BINS[said["kind"]].from_dict(said)


def read(said: JSON) -> Any:
    """A sketch from what `as_dict` said."""
    return SKETCHES[said["kind"]].from_dict(said)


def to_bytes(sketch: Sketch) -> bytes:
    """A sketch as a table of a database keeps it."""
    text = json.dumps(sketch.as_dict(), sort_keys=True, separators=(",", ":"))
    return zlib.compress(text.encode("utf-8"), 6)


def from_bytes(raw: bytes) -> Any:
    """A sketch from what `to_bytes` wrote."""
    return read(json.loads(zlib.decompress(raw)))
