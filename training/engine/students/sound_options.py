"""What every sound network shares: rate and length of what it hears."""

from dataclasses import dataclass

from training.engine.options import option


@dataclass(frozen=True, slots=True)
class Sounds:
    sampling_rate: int = option(
        0,
        minimum=0,
        maximum=192_000,
        help="Samples a second that it hears; 0 keeps the commonest rate in the training rows, at "
        "most 16 000.",
    )
    seconds: float = option(
        0.0,
        minimum=0.0,
        maximum=600.0,
        label="Longest sound",
        help="Seconds; the rest is cut off. 0 keeps 95 % of the training rows whole, at most 30 s.",
    )


@dataclass(frozen=True, slots=True)
class Spectrograms(Sounds):
    mels: int = option(
        40, minimum=4, maximum=512, label="Bands", help="Of the spectrogram, on the mel scale."
    )
    window: float = option(
        25.0, minimum=1.0, maximum=500.0, label="Frame", help="Milliseconds that a frame looks at."
    )
    hop: float = option(
        10.0, minimum=1.0, maximum=500.0, help="Milliseconds from one frame to the next."
    )
