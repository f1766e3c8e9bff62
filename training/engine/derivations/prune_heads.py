from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from training.engine.derivations import (
    DERIVATIONS,
    Derivation,
    Derived,
    Example,
    importance,
    slimming,
    structure,
)
from training.engine.errors import ConfigError, Fault
from training.engine.networks import Network
from training.engine.options import JSON, option

FUSED = "its queries, keys and values are one layer"
PER_HEAD = "each of its heads has weights elsewhere too"


@dataclass(frozen=True, slots=True)
class Options:
    share: float = option(
        0.5, minimum=0.01, maximum=0.99, label="Kept share", help="Of the heads of each layer."
    )


@DERIVATIONS.register
class PruneHeads(Derivation):
    key = "prune_heads"
    label = "Prune attention heads"
    summary = "The heads that matter least are left out, as many in every layer."
    formula = "importance of a head = mean over rows of |Σ x · ∂L/∂x|, x its answer"
    paper = "Michel, Levy, Neubig: Are Sixteen Heads Really Better than One?, 1905.10650"
    measures = True
    takes_altered = True
    architectures = (
        *("bert", "camembert", "data2vec-text", "distilbert", "electra", "ernie"),
        *(
            "roberta",
            "roberta-prelayernorm",
            "xlm-roberta",
            "llama",
            "mistral",
            "phi",
            "qwen2",
            "qwen3",
            "vit",
            "dinov2",
        ),
        *("wav2vec2", "hubert", "audio-spectrogram-transformer"),
    )
    refusals: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("gpt2", "gpt_neox", "bloom", "modernbert", "deberta"), FUSED),
        **dict.fromkeys(
            ("megatron-bert", "rembert", "roformer"), "its layers remember how many heads they had"
        ),
        **dict.fromkeys(
            ("beit", "mpnet", "deberta-v2", "convbert", "longformer", "nystromformer", "big_bird"),
            PER_HEAD,
        ),
        **dict.fromkeys(
            (
                *("bag_of_embeddings", "text_cnn", "small_convnet", "spectrogram_convnet", "mlp"),
                *(
                    "tabular_mlp",
                    "gru_language_model",
                    "bilstm",
                    "fnet",
                    "resnet",
                    "regnet",
                    "convnext",
                    "convnextv2",
                    "mobilenet_v2",
                ),
            ),
            "it has no attention",
        ),
        "albert": "all its layers are one layer, used again and again",
    }
    Options: ClassVar[type] = Options

    def derive(self, teacher: Network, examples: Sequence[Example]) -> Derived:
        groups = structure.heads(teacher.module)
        before = groups[0].size
        if before < 2:
            raise ConfigError([Fault("options.share", "Each of its layers has one head to keep.")])
        count = min(before - 1, max(1, round(before * self.options.share)))
        matters = importance.important(teacher, groups, examples, reads=True)
        kept = [
            (group, importance.kept(one, count)) for group, one in zip(groups, matters, strict=True)
        ]
        student = slimming.slimmed(teacher, kept, _changes(teacher, groups[0], count))
        return Derived(student, f"{count} of {before} heads of each layer")


def _changes(teacher: Network, group: structure.Group, count: int) -> JSON:
    """Llama and its kin, and ViT, can have any number of heads of a stated width."""
    config = structure.configuration(teacher.module)
    width = group.makes[1].each
    together = group.makes[0].each // width
    changes = {
        structure.option_of(config, "num_attention_heads"): count * together,
        "head_dim": width,
    }
    if hasattr(config, "num_key_value_heads"):
        changes["num_key_value_heads"] = count
    return changes
