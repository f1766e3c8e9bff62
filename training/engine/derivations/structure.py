"""Where a network's layers, attention heads and inner channels are, so that they can be left out.

A group is a set of channels that exist together: some layers make them, others read them. Whoever
drops a channel drops it in all of these.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import nn

from training.engine import alterations
from training.engine.errors import ModelError
from training.engine.networks import Network
from training.engine.students.transformers_models import Wrapped, model_type_of

Axis = Literal["outputs", "inputs"]


class Part(NamedTuple):
    """A layer's share in a group: from `start` on, `each` entries of its outputs (or inputs) for
    every channel."""

    layer: str
    axis: Axis
    each: int = 1
    start: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """`size` channels: who makes them, and who reads them. `option` is where the configuration says
    how many they are: a key, and a place in its list or None; no key where it does not."""

    size: int
    makes: tuple[Part, ...]
    reads: tuple[Part, ...]
    option: tuple[str, int | None] = ("", None)

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.makes + self.reads


# Layers ---------------------------------------------------------------------------------------

STACKS = ("layer", "layers", "h")
STAGES = {
    "resnet": "model.resnet.encoder.stages.{}.layers",
    "regnet": "model.regnet.encoder.stages.{}.layers",
    "convnext": "model.convnext.encoder.stages.{}.layers",
    "convnextv2": "model.convnextv2.encoder.stages.{}.layers",
}


def stack(module: nn.Module) -> str:
    """The name of the list that holds a transformers model's layers. Raises ModelError."""
    count = int(configuration(module).num_hidden_layers)
    for name, part in module.named_modules():
        known = str(name).rpartition(".")[2] in STACKS
        if known and isinstance(part, nn.ModuleList) and len(part) == count:
            return str(name)
    raise ModelError("Its layers do not stand one after another in one list.")


def stages(network: Network) -> list[str]:
    """The names of the lists that hold each stage's layers; none where there are no stages."""
    kind = model_type_of(network.architecture)
    if kind not in STAGES:
        return []
    pattern, count = STAGES[kind], len(configuration(network.module).depths)
    return [pattern.format(at) for at in range(count)]


def configuration(module: nn.Module) -> Any:
    """A transformers model's own configuration."""
    assert isinstance(module, Wrapped)
    return module.model.config


def option_of(config: Any, name: str) -> str:
    """What this model type calls a number that most call `name`: `n_layer` is GPT-2's
    `num_hidden_layers`."""
    return str(config.attribute_map.get(name, name))


# Heads ----------------------------------------------------------------------------------------

#: Queries, keys, values, and what reads the heads' answers, by their names within a layer.
ATTENTION = (
    ("attention.self.query attention.self.key attention.self.value", "attention.output.dense"),
    ("attention.q_lin attention.k_lin attention.v_lin", "attention.out_lin"),
    ("attention.q_proj attention.k_proj attention.v_proj", "attention.o_proj"),
    ("attention.q_proj attention.k_proj attention.v_proj", "attention.out_proj"),
    ("self_attn.q_proj self_attn.k_proj self_attn.v_proj", "self_attn.o_proj"),
    ("self_attn.q_proj self_attn.k_proj self_attn.v_proj", "self_attn.dense"),
    ("attn.c_attn attn.c_attn attn.c_attn", "attn.c_proj"),
)


def heads(module: nn.Module) -> list[Group]:
    """The attention heads of each layer of a transformers model. Where several heads share their
    keys and values, they are one channel. Raises ModelError."""
    found = []
    for layer in _layers(module):
        makes, reads = _matching(module, layer, ATTENTION, "queries, keys and values of their own")
        attention: Any = module.get_submodule(makes[0].layer.rpartition(".")[0])
        width = int(getattr(attention, "attention_head_size", 0) or attention.head_dim)
        count = alterations.sizes(module.get_submodule(reads.layer))[0] // width
        keys = makes[1]
        own = alterations.sizes(module.get_submodule(keys.layer))[1] // width
        if keys.layer == makes[0].layer:  # queries, keys and values in one layer
            own //= 3
        many = width * (count // own)
        found.append(
            Group(
                own,
                (makes[0]._replace(each=many), *(one._replace(each=width) for one in makes[1:])),
                (reads._replace(each=many),),
            )
        )
    return found


# Channels -------------------------------------------------------------------------------------

#: What makes inner neurons, and what reads them, by their names within a layer. A gate beside them,
#: in a layer of its own or in the same one, is a second maker.
INNER = (
    ("intermediate.dense", "output.dense"),
    ("ffn.lin1", "ffn.lin2"),
    ("feed_forward.intermediate_dense", "feed_forward.output_dense"),
    ("mlp.gate_proj mlp.up_proj", "mlp.down_proj"),
    ("mlp.fc1", "mlp.fc2"),
    ("mlp.c_fc", "mlp.c_proj"),
    ("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    ("mlp.Wi mlp.Wi", "mlp.Wo"),
    ("pwconv1", "pwconv2"),
)
SIZES = ("intermediate_size", "hidden_dim", "n_inner", "ffn_dim")


def inner(module: nn.Module) -> list[Group]:
    """The inner neurons of each layer of a transformers model. Raises ModelError."""
    config = configuration(module)
    key = next((name for name in SIZES if hasattr(config, name)), "")
    found = []
    for layer in _layers(module):
        makes, reads = _matching(module, layer, INNER, "an inner layer")
        size = alterations.sizes(module.get_submodule(reads.layer))[0]
        found.append(Group(size, makes, (reads,), (key, None)))
    return found


def channels(network: Network) -> list[Group]:
    """What a network may have fewer of without a change to what goes in and out of its layers: the
    inner neurons of transformers, the channels of convolutions. Raises ModelError."""
    module = network.module
    match network.architecture:
        case "mlp" | "tabular_mlp":
            return _in_a_row(module, "layers", "hidden")
        case "small_convnet" | "spectrogram_convnet":
            return _in_a_row(module, "features", "channels")
        case "text_cnn":
            return _windows(module)
        case "resnet":
            return list(_residual(module, stages(network)))
    return inner(module)


def _in_a_row(module: nn.Module, name: str, option: str) -> list[Group]:
    """Layers one after another, each reading what the one before it made; then perhaps one more,
    and the head."""
    rows: list[tuple[str, list[str]]] = []  # a layer with weights, and the norms behind it
    for at, layer in module.get_submodule(name).named_children():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            rows.append((f"{name}.{at}", []))
        elif isinstance(layer, nn.BatchNorm2d):
            rows[-1][1].append(f"{name}.{at}")
    options: list[tuple[str, int | None]] = [(option, at) for at in range(len(rows))]
    middle = getattr(module, "middle", nn.Identity())
    for at, layer in middle.named_children():
        if isinstance(layer, nn.Linear):
            rows.append((f"middle.{at}", []))
            options.append(("hidden", None))
    rows.append(("head", []))
    found = []
    for place, (maker, norms) in enumerate(rows[:-1]):
        size = alterations.sizes(module.get_submodule(maker))[1]
        reader = rows[place + 1][0]
        # A linear layer behind convolutions reads every place of a channel.
        each = alterations.sizes(module.get_submodule(reader))[0] // size
        found.append(
            Group(
                size,
                tuple(Part(one, "outputs") for one in (maker, *norms)),
                (Part(reader, "inputs", each),),
                options[place],
            )
        )
    return found


def _windows(module: nn.Module) -> list[Group]:
    """A text CNN: the filters of each window, which the head reads one window after another."""
    found, start = [], 0
    for at, layer in module.get_submodule("filters").named_children():
        size = alterations.sizes(layer)[1]
        found.append(
            Group(
                size,
                (Part(f"filters.{at}", "outputs"),),
                (Part("head", "inputs", 1, start),),
                ("filters", None),
            )
        )
        start += size
    return found


def _residual(module: nn.Module, names: Sequence[str]) -> Iterator[Group]:
    """A ResNet: the channels within each block; those that its shortcuts carry stay."""
    for name in names:
        for at, block in module.get_submodule(name).named_children():
            row = block.get_submodule("layer")
            layers = [f"{name}.{at}.layer.{one}" for one, _ in row.named_children()]
            for before, after in itertools.pairwise(layers):
                maker, norm = f"{before}.convolution", f"{before}.normalization"
                yield Group(
                    alterations.sizes(module.get_submodule(maker))[1],
                    (Part(maker, "outputs"), Part(norm, "outputs")),
                    (Part(f"{after}.convolution", "inputs"),),
                )


def _layers(module: nn.Module) -> list[str]:
    """The names of a transformers model's layers."""
    if hasattr(configuration(module), "depths"):
        lists = [
            name
            for name, part in module.named_modules()
            if name.rpartition(".")[2] == "layers" and isinstance(part, nn.ModuleList)
        ]
    else:
        lists = [stack(module)]
    return [
        f"{name}.{at}" for name in lists for at, _ in module.get_submodule(name).named_children()
    ]


def _matching(
    module: nn.Module, layer: str, patterns: Sequence[tuple[str, str]], what: str
) -> tuple[tuple[Part, ...], Part]:
    """Makers and the reader of the first pattern that a layer has the parts of."""
    known = {name for name, _ in module.get_submodule(layer).named_modules()}
    for written, reader in patterns:
        makers = written.split()
        if reader not in known or not known.issuperset(makers):
            continue
        parts: list[Part] = []
        for maker in makers:
            before = sum(one.layer == f"{layer}.{maker}" for one in parts)
            whole = alterations.sizes(module.get_submodule(f"{layer}.{maker}"))[1]
            start = before * (whole // makers.count(maker))
            parts.append(Part(f"{layer}.{maker}", "outputs", 1, start))
        return tuple(parts), Part(f"{layer}.{reader}", "inputs")
    raise ModelError(f"Its layers have no {what}.")
