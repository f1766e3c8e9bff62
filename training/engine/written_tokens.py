"""Having a network write one text, and telling of each token how likely it was and what else could
have stood there.

Probabilities are the network's own, at temperature 1, whatever temperature the text is drawn with.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training.engine import chats, sampling
from training.engine.conversations import messages
from training.engine.errors import ModelError
from training.engine.fresh_inputs import MOST_TEXT, Unreadable
from training.engine.language import LanguagePreprocessing
from training.engine.networks import Network, Place

JSON = dict[str, Any]
MOST_TOKENS = 512  # of one text
MOST_SHOWN = 10  # other tokens that could have stood at a place
BEFORE = 4  # tokens that a token is spelt behind: some are but a part of a letter


@dataclass(frozen=True, slots=True)
class Asked:
    """How a text is wanted; `temperature` 0 always takes the likeliest token."""

    prompt: list[int]
    most: int = 64
    temperature: float = 0.0
    seed: int = 0
    shown: int = 5


def read(network: Network, is_foreign: bool, said: Mapping[str, Any]) -> list[int]:
    """The tokens after which an answer begins: {"text"}, or {"messages"} of a chat. A model of
    chats is spoken to as it was trained; `is_foreign` says that it is a checkpoint from elsewhere.
    Raises Unreadable."""
    own = network.preprocessing
    assert isinstance(own, LanguagePreprocessing)
    talks = own.tokenizer.token_to_id("<|assistant|>") is not None
    spoken, text = said.get("messages"), said.get("text")
    if spoken is None:
        if not isinstance(text, str):
            raise Unreadable("This model goes on from a text: send a text, or messages.")
        if len(text) > MOST_TEXT:
            raise Unreadable(f"It has {len(text):,} characters; at most {MOST_TEXT:,} are read.")
        if not (own.template and is_foreign) and not talks:
            return own.prompt(text) or [own.pad]
        spoken = messages(text) or [{"role": "user", "content": text}]
    kept = messages(json.dumps(spoken))
    if kept is None or kept[-1]["role"] == "assistant":
        raise Unreadable(
            'Send messages as [{"role": "user", "content": "..."}], the last one not the '
            "assistant's."
        )
    try:
        return _opened(own, kept)
    except ModelError as error:
        raise Unreadable(str(error)) from None


def _opened(own: LanguagePreprocessing, spoken: list[JSON]) -> list[int]:
    """A chat up to where the assistant's words begin."""
    if not own.template:
        ids = list(own.chat(spoken).ids)
        speaker = own.tokenizer.token_to_id("<|assistant|>")
        if speaker is not None:
            return [*ids, speaker]
        return ids + list(own.tokenizer.encode("\nassistant: ", add_special_tokens=False).ids)
    named = {
        name: str(own.tokenizer.id_to_token(token))
        for name, token in (("bos_token", own.start), ("eos_token", own.end))
        if token is not None
    }
    written = chats.render(own.template, spoken, named, opens=True)
    ids = list(own.tokenizer.encode(written, add_special_tokens=False).ids)
    begun = own.start is None or ids[:1] == [own.start]
    return ids if begun else [own.start, *ids]  # type: ignore[list-item]


@torch.inference_mode()
def write(network: Network, place: Place, several: Sequence[Asked], until: float) -> list[JSON]:
    """Of each that is asked: {"text", "ended", "tokens": [{"text", "probability", "alternatives":
    [{"text", "probability"}]}]}. Nothing is written after `until`, by time.monotonic()."""
    own = network.preprocessing
    assert isinstance(own, LanguagePreprocessing)
    window = own.max_length + 1
    prompts = [one.prompt[-(window - 1) :] for one in several]
    lengths = [len(one) for one in prompts]
    ids = torch.zeros(len(prompts), max(lengths), dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt)
    room = [min(one.most, window - length) for one, length in zip(several, lengths, strict=True)]
    chances = [sampling.chance_of(one.seed) for one in several]
    written: list[list[int]] = [[] for _ in prompts]
    told: list[list[JSON]] = [[] for _ in prompts]
    over = [False] * len(prompts)
    module: Any = network.module
    logits, memory = module.begin(ids.to(place.device), torch.tensor(lengths, device=place.device))
    for turn in range(max(room)):
        logs = logits.float().cpu().log_softmax(dim=1)
        chosen = torch.zeros(len(prompts), dtype=torch.int64)
        for row, one in enumerate(several):
            if over[row]:
                continue
            token = _drawn(logs[row], one.temperature, chances[row])
            told[row].append(_told(own, written[row], token, logs[row], one.shown))
            written[row].append(token)
            chosen[row] = token
            over[row] = token == own.end or len(written[row]) >= room[row]
        if all(over) or turn + 1 == max(room) or time.monotonic() > until:
            break
        logits, memory = module.go_on(chosen.to(place.device), memory)
    return [
        {
            "text": own.decode([token for token in tokens if token != own.end]),
            "ended": bool(tokens) and tokens[-1] == own.end,
            "tokens": steps,
        }
        for tokens, steps in zip(written, told, strict=True)
    ]


def _drawn(logs: Tensor, temperature: float, chance: torch.Generator) -> int:
    if temperature == 0.0:
        return int(logs.argmax())
    return int(torch.multinomial(torch.softmax(logs / temperature, 0), 1, generator=chance))


def _told(
    own: LanguagePreprocessing, before: list[int], token: int, logs: Tensor, shown: int
) -> JSON:
    likeliest = logs.topk(min(shown + 1, len(logs)))
    others = [
        {"text": _spelt(own, before, other), "probability": _brief(log)}
        for other, log in zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
        if other != token
    ]
    return {
        "text": _spelt(own, before, token),
        "probability": _brief(float(logs[token])),
        "alternatives": others[:shown],
    }


def _spelt(own: LanguagePreprocessing, before: list[int], token: int) -> str:
    """What a token adds to the text; a special one by its name."""
    some = before[-BEFORE:]
    start, whole = own.decode(some), own.decode([*some, token])
    if whole.startswith(start) and whole != start:
        return whole[len(start) :]
    return str(own.tokenizer.id_to_token(token))


def _brief(log: float) -> float:
    return float(f"{math.exp(log):.4g}")
