"""Text to token ids: a tokenizer made from the training rows, or a checkpoint's own.

Both are a `tokenizers.Tokenizer`, kept as `tokenizer.json` beside the weights. Training one is
deterministic: the same rows give the same file, byte for byte.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from training.engine import data
from training.engine.data import Indices

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # threads are the job's to give

PAD, UNKNOWN, START, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = [PAD, UNKNOWN, START, END, MASK]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which tokenizer an architecture asks for. `framed` texts begin with [CLS], end with [SEP]."""

    kind: str = "word"
    vocabulary: int = 8000
    lowercase: bool = True
    max_length: int = 128
    framed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPreprocessing:
    tokenizer: Tokenizer
    max_length: int
    pad: int = 0

    @property
    def vocabulary(self) -> int:
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    @property
    def digest(self) -> str:
        """Names the prepared tokens: equal digests mean equal ids."""
        said = f"{self.max_length} {self.pad} {self.tokenizer.to_str()}"
        return hashlib.sha256(said.encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        return {"max_length": self.max_length, "pad": self.pad}

    def save(self, folder: Path) -> None:
        self.tokenizer.save(str(folder / "tokenizer.json"))

    def encode(self, texts: list[str | None]) -> list[list[int]]:
        """Ids of each text, cut to the longest length; an empty text has at least none."""
        encoded = self.tokenizer.encode_batch([text or "" for text in texts])
        return [one.ids for one in encoded]

    def prepare(self, path: Path, home: Path) -> data.TextInputs:
        """Every row of the dataset as tokens, made once in `home`."""

        def make(folder: Path) -> None:
            pieces: list[np.ndarray[Any, Any]] = []
            lengths: list[int] = []
            for texts in data.column(path, "text"):
                ids = self.encode(texts)
                lengths += [len(one) for one in ids]
                pieces.append(np.fromiter((i for one in ids for i in one), dtype=np.int32))
            np.save(folder / "ids.npy", np.concatenate(pieces))
            np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]).astype("i8"))

        return data.TextInputs(data.prepared(home, self.digest[:32], make), self.pad)


def train(path: Path, rows: Indices, wish: Wish) -> TextPreprocessing:
    """A tokenizer of the texts of these rows (the training split, never the others)."""
    wanted = np.zeros(int(rows.max()) + 1, dtype=bool)
    wanted[rows] = True

    def texts() -> Iterable[str]:
        start = 0
        for piece in data.column(path, "text"):
            for place, text in enumerate(piece, start):
                if place < len(wanted) and wanted[place] and text:
                    yield text
            start += len(piece)

    return learn(texts, wish)


def learn(texts: Callable[[], Iterable[str]], wish: Wish) -> TextPreprocessing:
    """A tokenizer of these texts, which may be gone through more than once."""
    tokenizer = _empty(wish)
    special = SPECIAL if wish.framed else SPECIAL[:2]
    settings: dict[str, Any] = {"vocab_size": wish.vocabulary, "show_progress": False}
    if wish.kind == "wordpiece":
        # The library numbers the inner letters in the order of a hash map, which differs from
        # process to process, and breaks ties by number: giving them first, sorted, settles both.
        letters = {letter for text in texts() for letter in _letters(tokenizer, text)}
        first = [*special, *sorted(f"##{letter}" for letter in letters)]
        pieces = trainers.WordPieceTrainer(special_tokens=first, **settings)
        tokenizer.train_from_iterator(texts(), trainer=pieces)
        vocabulary = tokenizer.get_vocab()
        tokenizer = _empty(wish)
        tokenizer.model = models.WordPiece(vocabulary, unk_token=UNKNOWN)
        tokenizer.add_special_tokens(special)
    elif wish.kind == "bpe":
        pairs = trainers.BpeTrainer(special_tokens=special, **settings)
        tokenizer.train_from_iterator(texts(), trainer=pairs)
    else:
        words = trainers.WordLevelTrainer(special_tokens=special, **settings)
        tokenizer.train_from_iterator(texts(), trainer=words)
    if wish.framed:
        ends = [(one, tokenizer.token_to_id(one)) for one in (START, END)]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{START} $A {END}", pair=f"{START} $A {END} $B:1 {END}:1", special_tokens=ends
        )
    return ready(tokenizer, wish.max_length)


def ready(tokenizer: Tokenizer, max_length: int, pad: int = 0) -> TextPreprocessing:
    """A tokenizer that cuts at `max_length` and leaves padding to the batch."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=max_length)
    return TextPreprocessing(tokenizer=tokenizer, max_length=max_length, pad=pad)


def load(folder: Path, max_length: int, pad: int = 0) -> TextPreprocessing:
    return ready(Tokenizer.from_file(str(folder / "tokenizer.json")), max_length, pad)


def _letters(tokenizer: Tokenizer, text: str) -> set[str]:
    return set("".join(tokenizer.normalizer.normalize_str(text).split()))


def _empty(wish: Wish) -> Tokenizer:
    """Untrained, with its way of cleaning and splitting text."""
    if wish.kind == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
        tokenizer.decoder = decoders.BPEDecoder()
    elif wish.kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
        tokenizer.decoder = decoders.WordPiece()
    else:
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=wish.lowercase, strip_accents=wish.lowercase
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer
