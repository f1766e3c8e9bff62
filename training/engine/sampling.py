"""Having a network write: token by token, from a memory of what stands before."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.engine.networks import Place

AT_ONCE = 64  # texts written side by side


def chance_of(*numbers: int) -> torch.Generator:
    """A source of chance that these numbers alone decide, so that a resumed job draws the same."""
    seed = np.random.SeedSequence([abs(number) for number in numbers]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(seed[0]) << 31 | int(seed[1]) >> 1)


@torch.no_grad()
def write(
    module: nn.Module,
    place: Place,
    prompts: Sequence[Sequence[int]],
    *,
    most: int,
    window: int,
    temperature: float,
    end: int | None,
    chance: torch.Generator,
) -> list[list[int]]:
    """What a network that writes says after each prompt, its end token included where it comes to
    one: at most `most` tokens, and no more than `window` with the prompt, of whose beginning is cut
    what leaves no room for one.

    temperature 0 always takes the likeliest token. The network is asked in evaluation mode, and
    left in the mode it was in.
    """
    training = module.training
    module.eval()
    written: list[list[int]] = []
    for start in range(0, len(prompts), AT_ONCE):
        some = [list(one)[-(window - 1) :] for one in prompts[start : start + AT_ONCE]]
        with _precision(place):
            written += _together(module, place, some, most, window, temperature, end, chance)
    module.train(training)
    return written


def _precision(place: Place) -> Any:
    return nullcontext() if place.half is None else torch.autocast(place.device.type, place.half)


def _together(
    module: nn.Module,
    place: Place,
    prompts: list[list[int]],
    most: int,
    window: int,
    temperature: float,
    end: int | None,
    chance: torch.Generator,
) -> list[list[int]]:
    lengths = [len(one) for one in prompts]
    ids = torch.zeros(len(prompts), max(lengths), dtype=torch.int64)
    for row, one in enumerate(prompts):
        ids[row, : len(one)] = torch.tensor(one)
    room = [min(most, window - length) for length in lengths]
    written: list[list[int]] = [[] for _ in prompts]
    over = [False] * len(prompts)
    said: tuple[Tensor, Any] = module.begin(  # type: ignore[operator]
        ids.to(place.device), torch.tensor(lengths, device=place.device)
    )
    for turn in range(max(room)):
        logits, memory = said
        chosen = _chosen(logits.float().cpu(), temperature, chance)
        for row, token in enumerate(chosen.tolist()):
            if not over[row]:
                written[row].append(token)
                over[row] = token == end or len(written[row]) >= room[row]
        if all(over) or turn + 1 == max(room):
            break
        said = module.go_on(chosen.to(place.device), memory)  # type: ignore[operator]
    return written


def _chosen(logits: Tensor, temperature: float, chance: torch.Generator) -> Tensor:
    """The next token of each row, `[batch]`."""
    if temperature == 0.0:
        return logits.argmax(dim=1)
    probabilities = torch.softmax(logits / temperature, dim=1)
    return torch.multinomial(probabilities, 1, generator=chance).squeeze(1)
