"""A sound drawn: what its samples reach, place by place, as SVG of numbers alone."""

import io

from distillhub.lib.later import Later, np
from projects.ingest.audio_folder import PLAYED_SECONDS

soundfile = Later("soundfile")

PLACES = 120  # across
WIDTH, HEIGHT = 240, 40
COLOUR = "#6b78e5"  # seen on light and on dark ground
PIECE = 1 << 16  # samples of every channel, decoded at a time


def peaks(encoded: bytes) -> list[tuple[float, float]]:
    """The least and the most of the samples at each of up to PLACES places, of the part of a stored
    sound that pages play; between -1 and 1, channels taken together by their mean."""
    with soundfile.SoundFile(io.BytesIO(encoded)) as file:
        # Some kinds do not know their length before they are read to the end.
        most = PLAYED_SECONDS * file.samplerate
        pieces, read = [], 0
        while read < most and len(
            piece := file.read(min(PIECE, most - read), dtype="float32", always_2d=True)
        ):
            pieces.append(piece.mean(axis=1))
            read += len(piece)
    samples = np.concatenate(pieces) if pieces else np.zeros(1, dtype=np.float32)
    starts = np.unique(np.linspace(0, len(samples), PLACES, endpoint=False).astype(np.int64))
    low = np.minimum.reduceat(samples, starts)
    high = np.maximum.reduceat(samples, starts)
    return [(float(one), float(two)) for one, two in zip(low, high, strict=True)]


def drawn(encoded: bytes) -> str:
    """An SVG of WIDTH by HEIGHT, the loudest place as high as it."""
    found = peaks(encoded)
    loudest = max(max(abs(low), abs(high)) for low, high in found) or 1.0
    step, middle = WIDTH / len(found), HEIGHT / 2
    bars = []
    for place, (low, high) in enumerate(found):
        top = middle - high / loudest * (middle - 1)
        tall = max(1.0, (high - low) / loudest * (middle - 1))
        bars.append(f"M{(place + 0.5) * step:.1f} {top:.1f}v{tall:.1f}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}"><path fill="none" stroke="{COLOUR}" stroke-width="{0.7 * step:.2f}" '
        f'd="{"".join(bars)}"/></svg>'
    )
