"""What every small text network shares: how its text becomes token ids."""

from dataclasses import dataclass

from training.engine.options import option


@dataclass(frozen=True, slots=True)
class Words:
    tokenizer: str = option(
        "word",
        choices=("word", "wordpiece", "bpe"),
        help="Made from the training rows: whole words, or pieces that leave no word unknown.",
    )
    vocabulary: int = option(
        8000, minimum=16, maximum=500_000, help="Most different tokens it may know."
    )
    lowercase: bool = option(True, help="Forget upper case and accents.")
    max_length: int = option(
        128, minimum=4, maximum=8192, label="Longest text", help="Tokens; the rest is cut off."
    )
