import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from training.engine import alterations, features
from training.engine.derivations import DERIVATIONS, Derivation, Derived, Example
from training.engine.errors import ModelError
from training.engine.networks import Network
from training.engine.options import JSON, option


@dataclass(frozen=True, slots=True)
class Options:
    share: float = option(
        0.25,
        minimum=0.01,
        maximum=0.9,
        label="Rank",
        help="As a share of a layer's smaller side. A square layer shrinks below a half.",
    )


@DERIVATIONS.register
class LowRank(Derivation):
    key = "low_rank"
    label = "Low rank"
    summary = "Each layer becomes the product of two thin ones, by its singular values."
    formula = "W ≈ (U √S) (√S Vᵀ), the largest singular values only"
    paper = "Denton et al.: Exploiting Linear Structure Within Convolutional Networks, 1404.0736; "
    paper += "Sainath et al.: Low-rank Matrix Factorization, ICASSP 2013"
    takes_altered = True
    architectures = (
        *(
            "mlp",
            "tabular_mlp",
            "small_convnet",
            "spectrogram_convnet",
            "text_cnn",
            "resnet",
            "regnet",
        ),
        *("convnext", "convnextv2", "albert", "bert", "camembert", "convbert", "data2vec-text"),
        *("deberta", "deberta-v2", "distilbert", "electra", "ernie", "fnet", "longformer"),
        *("megatron-bert", "mobilebert", "modernbert", "mpnet", "nystromformer", "rembert"),
        *("roberta", "roberta-prelayernorm", "roformer", "xlm-roberta", "bloom", "gpt2"),
        *("gpt_neox", "llama", "mistral", "phi", "qwen2", "qwen3", "vit", "beit", "dinov2"),
        *("wav2vec2", "hubert", "audio-spectrogram-transformer"),
    )
    refusals: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("gru_language_model", "bilstm"), "its layers are recurrent; take fewer of them"
        ),
        "bag_of_embeddings": "its only layer is the last one; make it narrower",
        "ibert": "its layers are of quantised kinds",
    }
    Options: ClassVar[type] = Options

    def derive(self, teacher: Network, examples: Sequence[Example]) -> Derived:
        module = copy.deepcopy(teacher.module)
        ranks: JSON = {}
        for name, layer in layers(module):
            matrix = flat(layer)
            rank = max(1, round(min(matrix.shape) * self.options.share))
            thin = alterations.factorised(layer, rank)
            if _weights(thin) >= _weights(layer):
                continue
            fill(thin, layer, matrix, rank)
            alterations.replace(module, name, thin)
            ranks[name] = {"rank": rank}
        if not ranks:
            raise ModelError("No layer of it would be smaller at this rank: take a lower one.")
        joined = alterations.joined(alterations.of(teacher.config), ranks)
        config = {**teacher.config, alterations.ALTERED: joined}
        share = f"{self.options.share:.0%}".replace("%", " %")
        said = f"{share} of the rank of {len(ranks)} layers"
        return Derived(replace(teacher, module=module, config=config), said)


def layers(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """What can be factorised: every linear layer and convolution but the last layer, which knows
    the labels, and those that share their weights or compute them."""
    last = features.last_layer(module)
    used: dict[int, int] = {}
    for _, weight in module.named_parameters(remove_duplicate=False):
        used[id(weight)] = used.get(id(weight), 0) + 1
    found = []
    for name, layer in module.named_modules():
        simple = type(layer) in (nn.Linear, nn.Conv1d, nn.Conv2d)
        if layer is last or not (simple or alterations.is_transposed(layer)):
            continue
        if getattr(layer, "groups", 1) == 1 and used[id(layer.get_parameter("weight"))] == 1:
            found.append((name, layer))
    return found


def flat(layer: nn.Module) -> Tensor:
    """Its weight as `[outputs, inputs]`; every place a convolution sees is an input."""
    weight = layer.get_parameter("weight").detach()
    return weight.T if alterations.is_transposed(layer) else weight.flatten(1)


def fill(thin: alterations.LowRank, layer: nn.Module, matrix: Tensor, rank: int) -> None:
    """The best two thin layers for one, in the mean square of its weights (Eckart, Young 1936)."""
    left, sizes, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    root = sizes[:rank].sqrt()
    first, second = thin[0].get_parameter("weight"), thin[1].get_parameter("weight")
    bias = getattr(layer, "bias", None)
    with torch.no_grad():
        first.copy_((root[:, None] * right[:rank]).to(first).view_as(first))
        second.copy_((left[:, :rank] * root).to(second).view_as(second))
        if bias is not None:
            thin[1].get_parameter("bias").copy_(bias)


def _weights(layer: nn.Module) -> int:
    return sum(one.numel() for one in layer.parameters())
