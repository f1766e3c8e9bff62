"""Watching a network answer: its layers, attention, relations and the last layer's input.

Small networks of ours name the modules whose outputs are their layers (`points`) and call their
last layer `head`; transformers models say themselves what happens inside. Hooks stay only while one
batch is answered, and only for what is wanted.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from training.engine.answers import Answer, Wanted
from training.engine.errors import ConfigError, Fault
from training.engine.students.transformers_models import Wrapped

QUERIES = ("query", "q_lin", "q_proj", "query_proj", "linear_q")
KEYS = ("key", "k_lin", "k_proj", "key_proj", "linear_k")
VALUES = ("value", "v_lin", "v_proj", "value_proj", "linear_v")


class Seen:
    """What hooks and the model collected while one batch was answered."""

    def __init__(self) -> None:
        self.hidden: list[Tensor] = []
        self.attention: tuple[Tensor, ...] = ()
        self.relations: list[Tensor] = []
        self.embedding: Tensor | None = None


@contextmanager
def watch(module: nn.Module, wanted: Wanted) -> Iterator[Seen]:
    """Collect what is wanted of the module's next forward. Raises ConfigError where it has none of
    it to show."""
    seen = Seen()
    handles: list[Any] = []
    said: Any = nullcontext()
    if isinstance(module, Wrapped):
        said = module.telling(hidden=wanted.hidden, attention=wanted.attention)
    else:
        if wanted.attention or wanted.relations:
            raise _none("attention")
        if wanted.hidden:
            handles += [
                one.register_forward_hook(lambda _, __, out: seen.hidden.append(out))
                for one in points(module)
            ]
    if wanted.relations:
        for one in relations(module):
            handles.append(one.register_forward_hook(lambda _, __, out: seen.relations.append(out)))
    if wanted.embedding:
        handles.append(last_layer(module).register_forward_pre_hook(_remember(seen)))
    try:
        with said as told:
            yield seen
            if wanted.relations and not seen.relations:
                raise _none("queries, keys and values")  # computed past the layers, as in WavLM
            if told is not None:
                seen.hidden = list(told.get("hidden_states") or ())
                seen.attention = tuple(told.get("attentions") or ())
    finally:
        for handle in handles:
            handle.remove()


def answer(module: nn.Module, seen: Seen, logits: Tensor, mask: Tensor | None) -> Answer:
    """The collected as an Answer; raises ConfigError when the model kept silent."""
    heads = _heads(module) if seen.relations else 1
    hidden = tuple(one.float() for one in seen.hidden)
    if mask is not None:
        mask = _of_places(module, mask, seen)
    embedding = seen.embedding
    if embedding is not None and embedding.ndim == 3:
        embedding = embedding[torch.arange(len(embedding)), _last_places(embedding, mask)]
    return Answer(
        logits,
        hidden,
        tuple(one.float() for one in seen.attention),
        tuple(_by_head(one.float(), heads) for one in seen.relations),
        None if embedding is None else embedding.float(),
        mask,
    )


def _of_places(module: nn.Module, mask: Tensor, seen: Seen) -> Tensor | None:
    """The mask of what was seen: of sounds, whose models make one place of many samples, that of
    the places; None where what was seen has no places in time."""
    if seen.hidden:
        time = seen.hidden[0].shape[1] if seen.hidden[0].ndim == 3 else 0
    elif seen.attention:
        time = seen.attention[0].shape[-1]
    else:
        time = seen.relations[0].shape[1] if seen.relations else mask.shape[1]
    if time == mask.shape[1]:
        return mask
    base: Any = module.model.base_model if isinstance(module, Wrapped) else None
    if not time or not hasattr(base, "_get_feat_extract_output_lengths"):
        return None
    lengths = base._get_feat_extract_output_lengths(mask.sum(dim=1))
    lengths = lengths // getattr(base.config, "squeeze_factor", 1)
    places: Tensor = torch.arange(time, device=mask.device) < lengths[:, None]
    return places


def width(module: nn.Module) -> int:
    """Of the vectors that a transformers model makes of texts."""
    assert isinstance(module, Wrapped)
    config = module.model.config
    return int(getattr(config, "hidden_size", None) or config.dim)


def points(module: nn.Module) -> list[nn.Module]:
    """The modules of a small network whose outputs are its layers, the first one first."""
    names = getattr(module, "points", ())
    if not names:
        raise _none("layers")
    return [module.get_submodule(name) for name in names]


def last_layer(module: nn.Module) -> nn.Module:
    """The linear layer that makes logits of an embedding."""
    if not isinstance(module, Wrapped):
        return module.get_submodule("head")
    linear = [
        (name, one) for name, one in module.model.named_modules() if isinstance(one, nn.Linear)
    ]
    if not linear:
        raise _none("a last linear layer")
    # XLM-R and CamemBERT name theirs before the encoder, whose layers all begin with one name.
    inside = f"{module.model.base_model_prefix}."
    outside = [one for name, one in linear if not name.startswith(inside)]
    return outside[-1] if outside else linear[-1][1]


def relations(module: nn.Module) -> list[nn.Module]:
    """The layers that make queries, keys and values of the last attention: linear ones, factorised
    ones, and ones with an adapter."""
    found: list[nn.Module] = []
    for names in (QUERIES, KEYS, VALUES):
        fitting = [
            one
            for name, one in module.named_modules()
            if name.rpartition(".")[2] in names and isinstance(getattr(one, "weight", None), Tensor)
        ]
        if not fitting:
            raise _none("separate queries, keys and values")
        found.append(fitting[-1])
    return found


def _heads(module: nn.Module) -> int:
    assert isinstance(module, Wrapped)
    config = module.model.config
    for name in ("num_attention_heads", "n_heads", "n_head", "num_heads"):
        if isinstance(getattr(config, name, None), int):
            return int(getattr(config, name))
    raise _none("a number of attention heads")


def _by_head(said: Tensor, heads: int) -> Tensor:
    """`[batch, time, width]` as `[batch, heads, time, width of a head]`."""
    batch, time, _ = said.shape
    return said.view(batch, time, heads, -1).transpose(1, 2)


def _last_places(embedding: Tensor, mask: Tensor | None) -> Tensor:
    """Of each row, its last real place: decoders classify from there."""
    if mask is None:
        return torch.full((len(embedding),), embedding.shape[1] - 1)
    places = torch.arange(mask.shape[1], device=mask.device)
    return (places * mask).argmax(dim=1)


def _remember(seen: Seen) -> Any:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.embedding = inputs[0]

    return hook


def _none(what: str) -> ConfigError:
    sentence = (
        f"This architecture shows no {what}, which a term of the loss compares. Take another "
        "term, or a transformers architecture."
    )
    return ConfigError([Fault("losses", sentence)])
