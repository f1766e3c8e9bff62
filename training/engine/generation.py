"""What a network that writes is worth: token by token, row by row, and in samples.

Windows are judged a few at a time, so that the logits of a whole split are never in memory.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.engine import data, head_loss, sampling
from training.engine.answers import Answer
from training.engine.data import NO_UNIT, Dataset, Indices
from training.engine.errors import Stopped
from training.engine.heads import Unmultiplied, taught
from training.engine.language import LanguagePreprocessing
from training.engine.networks import Network, Place
from training.engine.windows import MOST_WINDOWS, LanguageInputs

JSON = dict[str, Any]
Values = NDArray[np.float64]
TOKENS_AT_ONCE = 16_384
LOGITS_AT_ONCE = 8_000_000  # numbers, where whole logits are compared
SAMPLES = 8  # rows that are written on
MOST_WRITTEN = 128  # tokens of a sample
SAMPLE_TEMPERATURE = 0.8  # of plain text, where the likeliest token alone soon goes in circles

#: What the teachers say of some windows, given their labels.
Target = Callable[[Indices, Tensor], Answer | None]


def no_target(rows: Indices, labels: Tensor) -> Answer | None:
    """Where nobody teaches."""
    return None


#: Something else to be summed over batches, of answers that are there anyway.
Beside = Callable[[Answer, Answer | None, Tensor], float]


@dataclass(frozen=True, slots=True)
class Judged:
    """Sums over the units of each row of the file, `[rows]`; NaN columns without a teacher."""

    rows: Indices  # of the file
    units: Values
    characters: Values  # that the units stand for
    nll: Values  # nats
    right: Values
    agrees: Values
    kl: Values
    beside: float = 0.0  # summed over batches

    @classmethod
    def joined(
        cls,
        inputs: LanguageInputs,
        dataset: Dataset,
        windows: Indices,
        sums: Mapping[str, Values],
        beside: float = 0.0,
    ) -> Self:
        """From the sums of each window."""
        source = windows if dataset.source is None else dataset.source[windows]
        every, into = np.unique(source, return_inverse=True)

        def joined(values: NDArray[Any]) -> Values:
            return np.bincount(into, values, minlength=len(every)).astype(np.float64)

        return cls(
            rows=every,
            units=joined(inputs.units[windows]),
            characters=joined(inputs.characters[windows]),
            **{name: joined(values) for name, values in sums.items()},
            beside=beside,
        )

    def scores(self, form: str) -> dict[str, float]:
        """perplexity, bits_per_character, token_accuracy, exact_match (rows all of whose tokens
        are right, so that writing greedily gives exactly them; of completions and chats), and of a
        teacher agreement and kl."""
        units = self.units.sum()
        characters = self.characters.sum()
        nll = float(self.nll.sum())
        scores = {
            "perplexity": math.exp(min(nll / units, 700.0)),
            "bits_per_character": nll / math.log(2) / float(characters) if characters else math.nan,
            "token_accuracy": float(self.right.sum() / units),
            "exact_match": math.nan,
        }
        if form != "text":
            scores["exact_match"] = float((self.right == self.units).mean())
        return scores

    def fidelity(self) -> dict[str, float]:
        units = self.units.sum()
        return {
            "agreement": float(self.agrees.sum() / units),
            "kl": float(self.kl.sum() / units),
        }


def judge(
    network: Network,
    inputs: LanguageInputs,
    dataset: Dataset,
    rows: Indices,
    place: Place,
    *,
    target: Target = no_target,
    module: nn.Module | None = None,
    beside: Beside = lambda student, teacher, labels: 0.0,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> Judged:
    """The network's (or another `module`'s of its kind) answers to these windows, by rows of the
    file. Raises Stopped between two batches when asked to leave."""
    (module or network.module).eval()
    sums = {name: np.zeros(len(rows)) for name in ("nll", "right", "agrees", "kl")}
    extra = 0.0
    for which in batches(inputs, rows):
        if asked_to_stop():
            raise Stopped
        batch = inputs.batch(rows[which])
        chosen = batch["targets"] != NO_UNIT
        labels = batch["targets"][chosen]
        with torch.no_grad():
            answer = place.answer(network, batch, module=module)
            assert isinstance(answer, Unmultiplied)
            assert answer.head is not None
            teacher = target(rows[which], labels)
            teacher = None if teacher is None else teacher.to(place.device)
            labels = labels.to(place.device)
            said = head_loss.judge(answer.head, taught(teacher), labels)
            extra += beside(answer, teacher, labels)
        window = chosen.nonzero()[:, 0].numpy()  # of each unit
        for name in sums:
            values = getattr(said, name).double().cpu().numpy()
            if len(values):
                sums[name][which] = np.bincount(window, values, minlength=len(which))
            else:
                sums[name][which] = np.nan
    return Judged.joined(inputs, dataset, rows, sums, extra)


@dataclass(frozen=True, slots=True)
class Apart:
    """What two networks of one tokenizer answer to the same units; sums over the units."""

    units: int
    characters: int
    nll: tuple[float, float]  # nats, of the first and the second
    right: tuple[int, int]
    agreement: float  # share of units whose likeliest token is the same
    kl: float  # nats a unit, of the second from the first
    most: float  # the largest difference of two logits
    mean: float  # of the sizes of all differences

    def scores(self) -> dict[str, tuple[float, float]]:
        """bits_per_character, perplexity and token_accuracy of both; bits_per_character where
        units stand for characters."""
        found = {
            "bits_per_character": [
                nll / math.log(2) / self.characters if self.characters else math.nan
                for nll in self.nll
            ],
            "perplexity": [math.exp(min(nll / self.units, 700.0)) for nll in self.nll],
            "token_accuracy": [right / self.units for right in self.right],
        }
        return {name: (one, two) for name, (one, two) in found.items() if not math.isnan(one)}


def apart(
    network: Network, after: nn.Module, inputs: LanguageInputs, rows: Indices, place: Place
) -> Apart:
    """Hold another module's answers to some windows against the network's, a few windows at a time,
    so that the logits of all are never in memory."""
    network.module.eval()
    lengths = inputs.lengths[rows]
    numbers = network.outputs * int(lengths.max())
    sums: dict[str, float] = defaultdict(float)
    most = 0.0
    for which in data.steady_order(
        np.arange(len(rows)), lengths, max(1, LOGITS_AT_ONCE // numbers)
    ):
        batch = inputs.batch(rows[which])
        labels = batch["targets"][batch["targets"] != NO_UNIT]
        with torch.inference_mode():
            first, second = (place.logits(network, batch, one).cpu() for one in (None, after))
            size = max(1, LOGITS_AT_ONCE // network.outputs)
            for start in range(0, len(labels), size):
                some = slice(start, start + size)
                found, largest = _apart(first[some], second[some], labels[some])
                most = max(most, largest)
                for name, value in found.items():
                    sums[name] += value
    units = int(sums["units"])
    return Apart(
        units=units,
        characters=int(inputs.characters[rows].sum()),
        nll=(sums["nll before"], sums["nll after"]),
        right=(int(sums["right before"]), int(sums["right after"])),
        agreement=sums["same"] / units,
        kl=sums["kl"] / units,
        most=most,
        mean=sums["apart"] / units,
    )


def _apart(first: Tensor, second: Tensor, labels: Tensor) -> tuple[dict[str, float], float]:
    """Sums over some units, and the largest difference of two logits."""
    difference = (first - second).abs()
    logs = {"before": first.double().log_softmax(dim=1), "after": second.double().log_softmax(1)}
    said = {when: one.argmax(dim=1) for when, one in logs.items()}
    kl = logs["before"].exp() * (logs["before"] - logs["after"])
    found = {
        "units": float(len(labels)),
        "same": float((said["before"] == said["after"]).sum()),
        "kl": float(kl.sum()),
        "apart": float(difference.mean(dim=1).double().sum()),
    }
    for when, one in logs.items():
        found[f"nll {when}"] = -float(one.gather(1, labels.unsqueeze(1)).sum())
        found[f"right {when}"] = float((said[when] == labels).sum())
    return found, float(difference.max())


def batches(inputs: LanguageInputs, rows: Indices) -> Iterator[Indices]:
    """Places within `rows`, windows of like length together, about as many tokens each time."""
    lengths = inputs.lengths[rows]
    longest = int(lengths.max()) if len(lengths) else 1
    size = max(1, TOKENS_AT_ONCE // longest)
    yield from data.steady_order(np.arange(len(rows)), lengths, size)


def after_a_word(
    prompt: list[int], answer: list[int], decode: Callable[[list[int]], str]
) -> tuple[list[int], list[int]]:
    """The same tokens, with those of a word that the prompt ends in the middle of given back to the
    answer; as they came where the prompt has no end of a word."""
    whole = decode([*prompt, *answer[:1]])
    for cut in range(len(prompt), 0, -1):
        said = decode(prompt[:cut])
        after = whole[len(said) :][:1]
        if said.strip() and whole.startswith(said) and (said[-1].isspace() or after.isspace()):
            return prompt[:cut], prompt[cut:] + answer
    return prompt, answer


def samples(
    networks: list[tuple[str, Network]],
    inputs: LanguageInputs,
    dataset: Dataset,
    rows: Indices,
    place: Place,
    seed: int,
) -> list[JSON]:
    """Some rows written on by each network, beside what really follows: {"row_id", "prompt",
    "reference", <role>: text}. The same chance for all of them."""
    source = rows if dataset.source is None else dataset.source[rows]
    first = rows[np.unique(source, return_index=True)[1]]
    some = first[np.linspace(0, len(first) - 1, min(SAMPLES, len(first))).astype(np.int64)]
    pairs = inputs.prompts(some)
    own = cast(LanguagePreprocessing, networks[0][1].preprocessing)
    if inputs.form == "text":
        pairs = [after_a_word(*pair, own.decode) for pair in pairs]
    found: list[JSON] = [
        {
            "row_id": int(dataset.row_ids[row] // MOST_WINDOWS),
            "prompt": own.decode(prompt),
            "reference": own.decode(answer),
        }
        for row, (prompt, answer) in zip(some.tolist(), pairs, strict=True)
    ]
    for role, network in networks:
        said = cast(LanguagePreprocessing, network.preprocessing)
        asked = [prompt for prompt, _ in pairs]
        if said.digest != own.digest:
            asked = [said.prompt(own.decode(one)) for one in asked]
        written = sampling.write(
            network.module,
            place,
            asked,
            most=MOST_WRITTEN,
            window=said.max_length,
            temperature=SAMPLE_TEMPERATURE if inputs.form == "text" else 0.0,
            end=said.end,
            chance=sampling.chance_of(seed),
        )
        for one, ids in zip(found, written, strict=True):
            one[role] = said.decode(ids)
    return found
