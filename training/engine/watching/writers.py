"""What a model of the project writes to rows that stand in no dataset, and its vectors of them.

    writer = Writer.open({"name", "path", "task"}, folder)
    writer.write(texts, until)     an Answer of each, None of what it could not read, or not end
    writer.vectors(texts)          [rows, width] of length 1: what stands before its last layer, in
                                   the mean over the tokens of the prompt

It is spoken to as the playground does (written_tokens.py), and takes the likeliest token each time,
so that the same row has the same answer. A prompt leaves room for an answer: of one that takes more
than three quarters of what the model sees at once, the beginning is cut.

torch is imported with this module, so that it is imported where a model has to answer.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from training.engine import networks, written_tokens
from training.engine.data import NO_UNIT
from training.engine.errors import ModelError
from training.engine.fresh_inputs import Unreadable
from training.engine.language import LanguagePreprocessing
from training.engine.networks import Network, Place
from training.engine.text_vectors import unit
from training.engine.watching.parts import TYPES

Halves = NDArray[np.float16]

MOST_TOKENS = 256  # of one answer
MOST_READ = 512  # tokens of a prompt, of which a vector is made
AT_ONCE = 32  # rows that are answered side by side
LEAST_ROOM = 4  # a quarter of what the model sees is left for the answer


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    tokens: int
    log_probability: float  # of a token, in the mean; natural logarithm
    ended: bool  # and was not cut


class Writer:
    """A network that writes."""

    def __init__(self, network: Network, place: Place, *, is_foreign: bool) -> None:
        assert isinstance(network.preprocessing, LanguagePreprocessing)
        self.network, self.place, self.is_foreign = network, place, is_foreign
        self.own = network.preprocessing
        network.module.requires_grad_(False).eval()
        place.settle(network)

    @classmethod
    def open(cls, said: Mapping[str, Any], folder: Path) -> Self:
        """Of a job's folder, `said` as its configuration names it. Raises ModelError."""
        path = folder / str(said["path"])
        network = networks.load(str(said["name"]), path, str(said["task"]))
        if not isinstance(network.preprocessing, LanguagePreprocessing):
            raise ModelError(f"{network.name} writes nothing.")
        is_foreign = not (path / "distillhub.json").exists()
        return cls(network, Place.choose("auto"), is_foreign=is_foreign)

    def prompt(self, text: str | None) -> list[int] | None:
        """Tokens; None of what it cannot read."""
        if text is None:
            return None
        try:
            return written_tokens.read(self.network, self.is_foreign, {"text": text})
        except Unreadable:
            return None

    # -- answers ----------------------------------------------------------------------------------

    def write(self, texts: Sequence[str | None], until: float) -> list[Answer | None]:
        """Of each in its order, the first ones first; nothing after `until` (time.monotonic())."""
        found: list[Answer | None] = [None] * len(texts)
        for start in range(0, len(texts), AT_ONCE):
            if time.monotonic() > until:
                break
            places, prompts = [], []
            for place, text in enumerate(texts[start : start + AT_ONCE], start):
                ids = self.prompt(text)
                if ids is not None:
                    places.append(place)
                    prompts.append(ids)
            if prompts:
                for place, one in zip(places, self._together(prompts, until), strict=True):
                    found[place] = one
        return found

    @torch.inference_mode()
    def _together(self, prompts: list[list[int]], until: float) -> list[Answer | None]:
        window = self.own.max_length + 1
        least = max(1, min(MOST_TOKENS, window // LEAST_ROOM))
        some = [one[-max(1, window - least) :] for one in prompts]
        lengths = [len(one) for one in some]
        ids = torch.full((len(some), max(lengths)), self.own.pad, dtype=torch.int64)
        for row, one in enumerate(some):
            ids[row, : len(one)] = torch.tensor(one)
        room = [min(MOST_TOKENS, window - length) for length in lengths]
        written: list[list[int]] = [[] for _ in some]
        logs = [0.0] * len(some)
        over = [False] * len(some)
        module: Any = self.network.module
        device = self.place.device
        logits, memory = module.begin(ids.to(device), torch.tensor(lengths, device=device))
        for turn in range(max(room)):
            best, chosen = logits.float().log_softmax(dim=1).max(dim=1)
            told = zip(chosen.tolist(), best.tolist(), strict=True)
            for row, (token, log) in enumerate(told):
                if not over[row]:
                    written[row].append(token)
                    logs[row] += log
                    over[row] = token == self.own.end or len(written[row]) >= room[row]
            if all(over) or turn + 1 == max(room) or time.monotonic() > until:
                break
            logits, memory = module.go_on(chosen, memory)
        return [
            self._answer(tokens, log) if is_over else None
            for tokens, log, is_over in zip(written, logs, over, strict=True)
        ]

    def _answer(self, tokens: list[int], log: float) -> Answer:
        ended = bool(tokens) and tokens[-1] == self.own.end
        text = self.own.decode([one for one in tokens if one != self.own.end])
        return Answer(text, len(tokens), log / max(1, len(tokens)), ended)

    # -- vectors ----------------------------------------------------------------------------------

    def vectors(self, texts: Sequence[str | None]) -> Halves | None:
        """`[rows, width]`, NaN of what it could not read; None where it read nothing."""
        read = [(at, ids) for at, text in enumerate(texts) if (ids := self.prompt(text))]
        if not read:
            return None
        longest = min(MOST_READ, self.own.max_length)
        kept = sorted(((at, ids[-longest:]) for at, ids in read), key=lambda one: len(one[1]))
        found: Halves | None = None
        for start in range(0, len(kept), AT_ONCE):
            some = kept[start : start + AT_ONCE]
            means = self._means([ids for _, ids in some])
            if found is None:
                found = np.full((len(texts), means.shape[1]), np.nan, dtype=np.float16)
            found[[at for at, _ in some]] = unit(means).astype(np.float16)
        return found

    @torch.inference_mode()
    def _means(self, prompts: list[list[int]]) -> NDArray[np.float32]:
        longest = max(map(len, prompts))
        ids = torch.full((len(prompts), longest), self.own.pad, dtype=torch.int64)
        targets = torch.full((len(prompts), longest), NO_UNIT, dtype=torch.int64)
        for row, one in enumerate(prompts):
            ids[row, : len(one)] = torch.tensor(one)
            targets[row, : len(one)] = -1  # units whose label nobody knows
        inside = targets != NO_UNIT
        batch = {"input_ids": ids, "targets": targets, "attention_mask": inside.long()}
        hidden = self.place.head(self.network, batch, None).hidden.float().cpu()
        rows = inside.nonzero()[:, 0]
        sums = torch.zeros(len(prompts), hidden.shape[1]).index_add_(0, rows, hidden)
        means: NDArray[np.float32] = (sums / inside.sum(dim=1, keepdim=True)).numpy()
        return means


def columns(answers: Sequence[Answer | None]) -> dict[str, pa.Array]:
    """As columns of a part: prediction, tokens, log_probability."""
    told = {
        "prediction": [None if one is None else one.text for one in answers],
        "tokens": [None if one is None else one.tokens for one in answers],
        "log_probability": [None if one is None else one.log_probability for one in answers],
    }
    return {name: pa.array(values, TYPES[name]) for name, values in told.items()}
