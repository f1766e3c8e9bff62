"""What every network that writes shares: how text becomes tokens, and windows of them."""

from dataclasses import dataclass

from training.engine.options import option


@dataclass(frozen=True, slots=True)
class Tokens:
    tokenizer: str = option(
        "bpe",
        choices=("bpe", "character"),
        help="Made from the training rows: pieces of words, of which bytes leave nothing unknown; "
        "or single characters. A checkpoint brings its own, and a student takes its teacher's.",
    )
    vocabulary: int = option(
        4000, minimum=8, maximum=500_000, help="Most different tokens it may know."
    )
    max_length: int = option(
        128,
        minimum=4,
        maximum=32_768,
        label="Window",
        help="Tokens it sees at once. Longer texts are cut into windows, none is left out.",
    )
    stride: int | None = option(
        None,
        minimum=1,
        maximum=32_768,
        help="Tokens from one window of a long text to the next; fewer than the window means that "
        "each goes on from what the one before has seen. Empty: no overlap.",
    )
    end_token: str = option(
        "auto",
        choices=("auto", "always", "never"),
        label="End of a text",
        help="Whether the last thing to learn is that the text ends. auto: for completions and "
        "chats, not for pieces of plain text.",
    )
