import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from training.engine.derivations import (
    DERIVATIONS,
    Derivation,
    Derived,
    Example,
    importance,
    slimming,
    structure,
)
from training.engine.errors import ModelError
from training.engine.networks import Network, Place
from training.engine.options import JSON, option
from training.engine.students.transformers_models import Wrapped


@dataclass(frozen=True, slots=True)
class Options:
    share: float = option(
        0.5,
        minimum=0.01,
        maximum=0.99,
        label="Kept share",
        help="Of the width; a transformer keeps whole heads, and the same share of inner neurons. "
        "At half its width it answers little of what it knew until it is trained.",
    )


#: The weights that read the embeddings of small networks.
READERS = {
    "text_cnn": re.compile(r"filters\.\d+\.weight"),
    "bilstm": re.compile(r"lstm\.weight_ih_l0(_reverse)?"),
    "gru_language_model": re.compile(r"layers\.0\.gru\.weight_ih_l0"),
}


@DERIVATIONS.register
class Narrow(Derivation):
    key = "narrow"
    label = "Narrower"
    summary = "As deep, less wide: embeddings are projected onto the directions that matter most."
    paper = "Xia et al.: Sheared LLaMA, 2310.06694; Ashkboos et al.: SliceGPT, 2401.15024"
    measures = True
    architectures = (
        *("bag_of_embeddings", "text_cnn", "bilstm", "gru_language_model"),
        *("bert", "camembert", "data2vec-text", "distilbert", "electra", "ernie"),
        *("megatron-bert", "rembert", "roberta", "roberta-prelayernorm", "xlm-roberta"),
        *("gpt2", "llama", "mistral", "qwen2", "qwen3", "vit"),
    )
    refusals: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("mlp", "tabular_mlp", "small_convnet", "spectrogram_convnet", "resnet", "convnext"),
            "its widths are its channels; prune those",
        ),
        **dict.fromkeys(
            ("wav2vec2", "hubert"), "a grouped convolution gives its places, and ties its width"
        ),
        "albert": "all its layers are one layer, used again and again",
    }
    Options: ClassVar[type] = Options

    def derive(self, teacher: Network, examples: Sequence[Example]) -> Derived:
        if teacher.width and not isinstance(teacher.module, Wrapped):
            raise ModelError("The vector it answers is its width: draw a narrower one instead.")
        if teacher.architecture == "bag_of_embeddings":
            return self._bag(teacher, examples)
        if teacher.architecture in READERS:
            names = [name for name, _ in teacher.module.named_parameters()]
            readers = [name for name in names if READERS[teacher.architecture].fullmatch(name)]
            if teacher.config.get("tied"):
                raise ModelError("Its embeddings are its last layer too, and keep their width.")
            return self._words(teacher, examples, readers)
        return self._transformer(teacher, examples)

    def _bag(self, teacher: Network, examples: Sequence[Example]) -> Derived:
        """The head alone reads the mean embedding of a text."""
        module = teacher.module
        table = _weight(module, "embedding.weight")  # [words, dim]
        reads = _weight(module, "head.weight")  # [classes, dim]
        means = _before_head(teacher, examples) if examples else table
        width = _fewer(table.shape[1], self.options.share)
        down, up = projection(_gram(means) + NOISE * _gram(table), _gram(reads), width)
        student = slimming.rebuilt(teacher, {"dim": width})
        # Both keep the head's weights divided by a gain that goes with the width.
        gain = float(getattr(module, "head_gain", 1.0) / getattr(student.module, "head_gain", 1.0))
        _put(student.module, "embedding.weight", table @ down)
        _put(student.module, "head.weight", reads @ up * gain)
        _put(student.module, "head.bias", _weight(module, "head.bias") * gain)
        return Derived(student, f"{width} of {table.shape[1]} dimensions")

    def _words(
        self, teacher: Network, examples: Sequence[Example], readers: Sequence[str]
    ) -> Derived:
        """Only the weights called `readers` read the embeddings: `[any, dim, ...]` each."""
        module = teacher.module
        table = _weight(module, "embedding.weight")  # [words, dim]
        reads = {name: _weight(module, name) for name in readers}
        rows = torch.cat(
            [
                one.flatten(2).transpose(1, 2).flatten(0, 1) if one.ndim > 2 else one
                for one in reads.values()
            ]
        )
        words = torch.cat([one.inputs["input_ids"].flatten() for one in examples] or [NO_WORDS])
        seen = table[words] if len(words) else table
        width = _fewer(table.shape[1], self.options.share)
        down, up = projection(_gram(seen) + NOISE * _gram(table), _gram(rows), width)
        student = slimming.rebuilt(teacher, {"dim": width})
        student.module.load_state_dict(
            module.state_dict()
            | {"embedding.weight": (table @ down).float()}
            | {
                name: torch.einsum("fd...,dk->fk...", one, up).float()
                for name, one in reads.items()
            }
        )
        return Derived(student, f"{width} of {table.shape[1]} dimensions")

    def _transformer(self, teacher: Network, examples: Sequence[Example]) -> Derived:
        """The dimensions, whole heads and inner neurons that matter most, as many everywhere."""
        module, config = teacher.module, structure.configuration(teacher.module)
        heads, inner = structure.heads(module), structure.inner(module)
        if heads[0].size < 2:
            raise ModelError(
                "Each of its layers has one attention head: there is no width to take heads from."
            )
        count = _fewer(heads[0].size, self.options.share)
        before = int(config.hidden_size)
        width = before * count // heads[0].size
        neurons = max(1, inner[0].size * count // heads[0].size)
        kept = [
            (group, importance.kept(one, most))
            for groups, most in ((heads, count), (inner, neurons))
            for group, one in zip(
                groups,
                importance.important(teacher, groups, examples, reads=True),
                strict=True,
            )
        ]
        masks = slimming.masks_of(module, kept)
        changes = _changes(config, heads[0], count, width) | {inner[0].option[0]: neurons}
        student = slimming.rebuilt(teacher, changes)
        matters = importance.of_width(teacher, before, masks, examples)
        carried = slimming.Width(before, importance.kept(matters, width))
        slimming.fill(student.module, module, masks, width=carried)
        return Derived(student, f"{width} of {before} dimensions")


NOISE = 0.01  # of the whole vocabulary, beside the words of a few rows
NO_WORDS = torch.zeros(0, dtype=torch.int64)


def projection(made: Tensor, read: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """`down` and `up`, `[dim, width]`: with x' = x · down and w' = w · up the product x' · w' is as
    near to x · w as so few numbers allow.

    `made` and `read` are the sums of x xᵀ and w wᵀ, `[dim, dim]`. With A = read^½, the product is
    (x A) · (w A⁻¹), and x A is projected onto its principal directions.
    """
    dim = len(read)
    read = read / read.trace().clamp(min=1e-12) + 1e-4 / dim * torch.eye(dim, dtype=read.dtype)
    sizes, directions = torch.linalg.eigh(read)
    root = directions * sizes.sqrt() @ directions.T
    back = directions / sizes.sqrt() @ directions.T
    _, found = torch.linalg.eigh(root @ made @ root)
    principal = found[:, -width:].flip(1)
    down, up = root @ principal, back @ principal
    # What is made keeps its size, so that an optimizer's steps mean what they did.
    share = (made @ down * down).sum() / made.trace() * dim / width
    size = share.clamp(min=1e-12).sqrt()
    return down / size, up * size


def _changes(config: Any, group: structure.Group, count: int, width: int) -> JSON:
    each, together = group.makes[1].each, group.makes[0].each // group.makes[1].each
    hidden = int(config.hidden_size)
    changes: JSON = {
        structure.option_of(config, "hidden_size"): width,
        structure.option_of(config, "num_attention_heads"): count * together,
    }
    if hasattr(config, "num_key_value_heads"):
        changes["num_key_value_heads"] = count
    if width != count * together * each or getattr(config, "head_dim", None):
        changes["head_dim"] = each
    if getattr(config, "embedding_size", None) == hidden:
        changes["embedding_size"] = width
    return changes


def _fewer(before: int, share: float) -> int:
    if before < 2:
        raise ModelError("It is one number wide already.")
    return min(before - 1, max(1, round(before * share)))


def _gram(rows: Tensor) -> Tensor:
    """The mean of x xᵀ over rows `[rows, dim]`, scaled to a trace of 1."""
    gram = rows.T @ rows
    return gram / gram.trace().clamp(min=1e-12)


def _before_head(network: Network, examples: Sequence[Example]) -> Tensor:
    """`[rows, dim]`: what the last layer reads."""
    seen: list[Tensor] = []
    head = network.module.get_submodule("head")
    handle = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    was = network.module.training
    network.module.eval()
    try:
        with torch.no_grad():
            for one in examples:
                Place(torch.device("cpu")).logits(network, one.inputs)
    finally:
        handle.remove()
        network.module.train(was)
    return torch.cat(seen).double()


def _weight(module: nn.Module, name: str) -> Tensor:
    return module.get_parameter(name).detach().double()


def _put(module: nn.Module, name: str, value: Tensor) -> None:
    with torch.no_grad():
        module.get_parameter(name).copy_(value)
