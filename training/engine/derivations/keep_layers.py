import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from training.engine import alterations
from training.engine.derivations import (
    DERIVATIONS,
    Derivation,
    Derived,
    Example,
    slimming,
    structure,
)
from training.engine.errors import ConfigError, Fault, ModelError
from training.engine.networks import Network
from training.engine.options import option

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    rule: str = option(
        "spread",
        choices=("spread", "first", "last", "listed"),
        help="spread: evenly from the first to the last, as DistilBERT was made; or the first, the "
        "last, or the layers listed.",
    )
    count: int | None = option(
        None, minimum=1, maximum=512, label="Layers", help="How many to keep; empty for half."
    )
    layers: tuple[int, ...] | None = option(
        None,
        minimum=0,
        maximum=511,
        label="Listed layers",
        help="For the rule listed: which, counted from 0, such as 0, 2, 4.",
    )


def chosen(options: Options, depth: int) -> list[int]:
    """The layers to keep of so many, ascending. Raises ConfigError."""
    if options.rule == "listed":
        if not options.layers:
            raise _fault("layers", "List the layers to keep, counted from 0.")
        beyond = [at for at in options.layers if at >= depth]
        if beyond:
            raise _fault("layers", f"Its layers are 0 to {depth - 1}; there is no {beyond[0]}.")
        return sorted(set(options.layers))
    count = options.count or (depth + 1) // 2
    if count >= depth:
        has = "one layer" if depth == 1 else f"{depth} layers"
        raise _fault("count", f"The teacher has {has}: keep fewer.")
    if options.rule == "first":
        return list(range(count))
    if options.rule == "last":
        return list(range(depth - count, depth))
    if count == 1:
        return [0]
    return [round(at * (depth - 1) / (count - 1)) for at in range(count)]


@DERIVATIONS.register
class KeepLayers(Derivation):
    key = "keep_layers"
    label = "Keep layers"
    summary = "Some of the teacher's layers, as they are: half as deep, as wide as before."
    paper = "Sanh et al.: DistilBERT, 1910.01108; Sajjad et al.: On the Effect of Dropping Layers, "
    paper += "2004.03844"
    architectures = (
        *("mlp", "tabular_mlp", "small_convnet", "spectrogram_convnet"),
        *("gru_language_model", "bilstm"),
        *("bert", "camembert", "convbert", "data2vec-text", "deberta", "deberta-v2", "distilbert"),
        *("electra", "ernie", "fnet", "ibert", "longformer", "megatron-bert", "mobilebert"),
        *("modernbert", "mpnet", "nystromformer", "rembert", "roberta", "roberta-prelayernorm"),
        *("roformer", "xlm-roberta", "bloom", "gpt2", "gpt_neox", "llama", "mistral", "phi"),
        *("qwen2", "qwen3", "vit", "beit", "dinov2", "resnet", "regnet", "convnext", "convnextv2"),
        *("wav2vec2", "hubert", "wavlm", "sew", "unispeech", "audio-spectrogram-transformer"),
        "whisper",
    )
    refusals: ClassVar[Mapping[str, str]] = {
        "albert": "all its layers are one layer, used again and again",
        "bag_of_embeddings": "it has no layers to leave out; make it narrower",
        "text_cnn": "it has one layer of filters; prune its channels",
    }
    Options: ClassVar[type] = Options

    def derive(self, teacher: Network, examples: Sequence[Example]) -> Derived:
        if teacher.architecture in ("mlp", "tabular_mlp"):
            return self._of_row(teacher, "layers", "hidden")
        if teacher.architecture in ("small_convnet", "spectrogram_convnet"):
            return self._of_row(teacher, "features", "channels")
        if teacher.architecture == "gru_language_model":
            return self._of_memories(teacher)
        if teacher.architecture == "bilstm":
            return self._of_lstm(teacher)
        if names := structure.stages(teacher):
            return self._of_stages(teacher, names)
        name = structure.stack(teacher.module)
        depth = _depth(teacher.module, name)
        kept = chosen(self.options, depth)
        config = structure.configuration(teacher.module)
        changes: JSON = {
            key: [value[at] for at in kept]
            for key in PER_LAYER
            if isinstance(value := getattr(config, key, None), list | tuple) and len(value) == depth
        }
        changes[structure.option_of(config, "num_hidden_layers")] = len(kept)
        return _of(teacher, changes, {name: (kept, depth)})

    def _of_stages(self, teacher: Network, names: list[str]) -> Derived:
        if self.options.rule in ("last", "listed"):
            raise _fault("rule", "Its layers stand in stages: keep the first of each, or spread.")
        depths = [_depth(teacher.module, name) for name in names]
        if max(depths) < 2:
            raise ModelError("Each of its stages has one layer, so none can be left out.")
        # A stage's first layer changes the shape of what goes through it, and always stays.
        kept = [
            list(range(depth))
            if depth <= (self.options.count or 1)
            else chosen(self.options, depth)
            for depth in depths
        ]
        if [len(one) for one in kept] == depths:
            raise _fault("count", f"Its stages have at most {max(depths)} layers: keep fewer.")
        changes = {"depths": [len(one) for one in kept]}
        places = dict(zip(names, zip(kept, depths, strict=True), strict=True))
        return _of(teacher, changes, places)

    def _of_memories(self, teacher: Network) -> Derived:
        depth = _depth(teacher.module, "layers")
        kept = chosen(self.options, depth)
        if kept[0] and teacher.config["dim"] != teacher.config["hidden"]:
            raise ModelError("Its first layer alone reads the embeddings: keep layer 0 too.")
        return _of(teacher, {"layers": len(kept)}, {"layers": (kept, depth)})

    def _of_lstm(self, teacher: Network) -> Derived:
        depth = int(teacher.config["layers"])
        kept = chosen(self.options, depth)
        if kept[0] and teacher.config["dim"] != 2 * teacher.config["hidden"]:
            raise ModelError("Its first layer alone reads the embeddings: keep layer 0 too.")
        student = slimming.rebuilt(teacher, {"layers": len(kept)})

        def named(name: str) -> str:
            return LSTM_LAYER.sub(lambda found: f"_l{kept[int(found[1])]}", name)

        slimming.fill(student.module, teacher.module, {}, named=named)
        return Derived(student, f"{len(kept)} of {depth} layers")

    def _of_row(self, teacher: Network, name: str, option: str) -> Derived:
        """Small networks: what a kept layer makes must fit what the next kept one reads."""
        if teacher.config.get("hidden") and option == "channels":
            raise ModelError(
                "Each of its blocks halves the image, and its hidden layer reads images of one "
                "size only: prune its channels instead."
            )
        row = teacher.module.get_submodule(name)
        blocks: list[list[int]] = []  # places in the row: a layer with weights, and what follows
        for at, layer in enumerate(row.children()):
            if isinstance(layer, nn.Linear | nn.Conv2d):
                blocks.append([])
            if blocks:
                blocks[-1].append(at)
        kept = chosen(self.options, len(blocks))
        sizes = [alterations.sizes(row.get_submodule(str(block[0]))) for block in blocks]
        carried = sizes[0][0]
        for at in kept:
            if sizes[at][0] != carried:
                raise ModelError(
                    f"Layer {at} reads {sizes[at][0]} numbers and would be given {carried}: layers "
                    "can be left out only between layers of one width."
                )
            carried = sizes[at][1]
        if carried != sizes[-1][1]:
            raise ModelError(
                f"The last kept layer makes {carried} numbers and the head reads {sizes[-1][1]}: "
                "keep the last layer too."
            )
        changes = {option: [teacher.config[option][at] for at in kept]}
        student = slimming.rebuilt(teacher, changes)
        stay = [old for at in kept for old in blocks[at]]
        places = {f"{name}.{new}.": f"{name}.{old}." for new, old in enumerate(stay, blocks[0][0])}
        slimming.fill(student.module, teacher.module, {}, named=_renamed(places))
        return Derived(student, f"{len(kept)} of {len(blocks)} layers")


LSTM_LAYER = re.compile(r"_l(\d+)(?=_reverse$|$)")  # weight_ih_l0_reverse

#: Lists of a configuration that say something of each layer.
PER_LAYER = ("layer_types", "attention_window", "mlp_layer_types")


def _depth(module: nn.Module, name: str) -> int:
    return sum(1 for _ in module.get_submodule(name).children())


def _of(teacher: Network, changes: JSON, lists: Mapping[str, tuple[list[int], int]]) -> Derived:
    """`lists`: of each list of layers those kept, and how many it has."""
    student = slimming.rebuilt(teacher, changes)
    places = {
        f"{name}.{new}.": f"{name}.{old}."
        for name, (kept, _) in lists.items()
        for new, old in enumerate(kept)
    }
    named = _renamed(places)
    used = {named(name) for name in student.module.state_dict()}
    given = teacher.module.state_dict()
    stay = {name for name in given if name.startswith(tuple(places.values()))}
    if odd := sorted((stay - used) | (used - given.keys())):
        raise ModelError(
            f"The first layer is made otherwise than the rest ({odd[0].removeprefix('model.')}): "
            "keep layer 0 in its place."
        )
    slimming.fill(student.module, teacher.module, {}, named=named)
    few = sum(len(kept) for kept, _ in lists.values())
    return Derived(student, f"{few} of {sum(depth for _, depth in lists.values())} layers")


def _renamed(places: Mapping[str, str]) -> Callable[[str], str]:
    def named(name: str) -> str:
        for mine, theirs in places.items():
            if name.startswith(mine):
                return theirs + name.removeprefix(mine)
        return name

    return named


def _fault(option: str, sentence: str) -> ConfigError:
    return ConfigError([Fault(f"options.{option}", sentence)])
