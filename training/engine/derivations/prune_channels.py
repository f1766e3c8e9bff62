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
from training.engine.errors import ModelError
from training.engine.networks import Network
from training.engine.options import option


@dataclass(frozen=True, slots=True)
class Options:
    share: float = option(
        0.5, minimum=0.01, maximum=0.99, label="Kept share", help="Of the channels of each layer."
    )


@DERIVATIONS.register
class PruneChannels(Derivation):
    key = "prune_channels"
    label = "Prune channels"
    summary = "The filters, hidden or inner neurons that matter least are left out of every layer."
    formula = "importance of a channel = Σ |w| of its filter, or mean over rows of |Σ x · ∂L/∂x|"
    paper = "Li et al.: Pruning Filters for Efficient ConvNets, 1608.08710; "
    paper += "Molchanov et al., 1611.06440"
    measures = True
    takes_altered = True
    architectures = (
        *(
            "mlp",
            "tabular_mlp",
            "small_convnet",
            "spectrogram_convnet",
            "text_cnn",
            "resnet",
            "convnext",
        ),
        *("bert", "camembert", "convbert", "data2vec-text", "deberta", "deberta-v2", "distilbert"),
        *("electra", "ernie", "fnet", "longformer", "megatron-bert", "modernbert", "mpnet"),
        *("nystromformer", "rembert", "roberta", "roberta-prelayernorm", "roformer"),
        *("xlm-roberta", "bloom", "gpt2", "gpt_neox", "llama", "mistral", "phi", "qwen2", "qwen3"),
        *("vit", "beit", "dinov2", "wav2vec2", "hubert", "audio-spectrogram-transformer"),
    )
    refusals: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("gru_language_model", "bilstm"), "what it remembers is one whole; take fewer layers"
        ),
        "bag_of_embeddings": "it has no channels but its width; make it narrower",
        "albert": "all its layers are one layer, used again and again",
        "ibert": "its layers are of quantised kinds",
        "mobilenet_v2": "its channels pass through convolutions one by one",
        "convnextv2": "its channels are normalised against each other",
    }
    Options: ClassVar[type] = Options

    def derive(self, teacher: Network, examples: Sequence[Example]) -> Derived:
        groups = structure.channels(teacher)
        counts = [max(1, round(group.size * self.options.share)) for group in groups]
        before = sum(group.size for group in groups)
        if sum(counts) == before:
            raise ModelError("Its layers have too few channels to leave any out.")
        matters = importance.important(teacher, groups, examples, reads=False)
        kept = [
            (group, importance.kept(one, count))
            for group, one, count in zip(groups, matters, counts, strict=True)
        ]
        changes = slimming.changed(slimming.model_config(teacher), groups, counts)
        student = slimming.slimmed(teacher, kept, changes)
        return Derived(student, f"{sum(counts):,} of {before:,} channels")
