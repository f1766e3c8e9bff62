"""Texts to token ids."""

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer


class Inputs:
    def __init__(self, folder: Path, settings: dict[str, Any], shapes: dict[str, Any]) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length=settings["max_length"])
        self.pad = settings["pad"]

    def batch(self, texts: list[Any]) -> dict[str, Any]:
        """input_ids and attention_mask, `[batch, longest]`."""
        encoded = [one.ids for one in self.tokenizer.encode_batch([text or "" for text in texts])]
        longest = max(1, *(len(ids) for ids in encoded))
        ids = np.full((len(encoded), longest), self.pad, dtype=np.int64)
        mask = np.zeros((len(encoded), longest), dtype=np.int64)
        for place, one in enumerate(encoded):
            ids[place, : len(one)] = one
            mask[place, : len(one)] = 1
        return {"input_ids": ids, "attention_mask": mask}


def read(argument: str) -> str:
    return argument
