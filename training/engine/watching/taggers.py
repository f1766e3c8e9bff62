"""Models that answer word by word, asked as those that answer rows are: a tag for each word, how
likely each label of it is, and a vector of the row, the mean of what stands before the last layer
at its words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from training.engine import data, evaluate, features, fresh_inputs
from training.engine.answers import Wanted
from training.engine.data import NO_UNIT
from training.engine.errors import ConfigError
from training.engine.text_vectors import unit
from training.engine.watching import tagging, vectors
from training.engine.watching.vectors import Said, Singles


class Tagger(vectors.Model):
    def answer(self, rows: Sequence[Mapping[str, Any] | None]) -> Said:
        """Of texts whose words have blanks between them; a row with more tokens than the network
        reads has no answer."""
        predictions: list[str | None] = [None] * len(rows)
        chances: list[Any] = [None] * len(rows)
        means: list[Any] = [None] * len(rows)
        order = [self.labels.index(name) for name in self.network.labels]
        for places, read in self._read(rows):
            for place, logits, mean in zip(places, *self._tagged(read), strict=True):
                means[place] = mean
                if not len(logits) or not np.isfinite(logits).all():
                    continue
                told = np.zeros((len(logits), len(self.labels)), dtype=np.float32)
                told[:, order] = np.exp(evaluate.log_probabilities(logits))
                chances[place] = told
                tags = [self.labels[one] for one in told.argmax(axis=1).tolist()]
                predictions[place] = tagging.SEPARATOR.join(tags)
        known = [at for at, one in enumerate(means) if one is not None]
        seen = None
        if known:
            whole = unit(np.stack([means[at] for at in known])).astype(np.float16)
            seen = vectors.spread(whole, known, len(rows))
        return Said(predictions, None, tagging.probabilities(chances), seen)

    def _tagged(self, read: list[Any]) -> tuple[list[Singles], list[Singles | None]]:
        """(logits `[words, classes]`, vector `[width]` or None) of each of these inputs."""
        inputs = fresh_inputs.joined(self.network.preprocessing, read)
        every = np.arange(len(read), dtype=np.int64)
        logits: list[Any] = [None] * len(read)
        means: list[Any] = [None] * len(read)
        for which in data.steady_order(every, inputs.lengths, evaluate.fitting(inputs, every)):
            batch = inputs.batch(which)
            words = (batch["targets"] != NO_UNIT).numpy()
            said, before = self._words(batch)
            ends = np.cumsum(words.sum(axis=1))[:-1]
            for at, own in zip(which.tolist(), np.split(said, ends), strict=True):
                logits[at] = own
            if before is not None:
                for at, own, mine in zip(which.tolist(), before, words, strict=True):
                    means[at] = own[mine].mean(axis=0)
        return logits, means

    def _words(self, batch: data.Batch) -> tuple[Singles, Singles | None]:
        """(logits `[words of all rows, classes]`, `[rows, time, width]` before the last layer)."""
        with torch.no_grad():
            if self.shows_vectors:
                try:
                    with features.watch(self.network.module, Wanted(embedding=True)) as seen:
                        said = self.place.logits(self.network, batch)
                    if seen.embedding is not None and seen.embedding.ndim == 3:
                        return said.float().cpu().numpy(), seen.embedding.float().cpu().numpy()
                    self.shows_vectors = False
                    return said.float().cpu().numpy(), None
                except ConfigError:  # it has no last layer to look before
                    self.shows_vectors = False
            return self.place.logits(self.network, batch).float().cpu().numpy(), None
