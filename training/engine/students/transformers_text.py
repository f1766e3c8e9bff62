"""Text architectures of transformers, drawn at random from a configuration.

Options carry the names of the library's own configuration; the defaults are small enough for a CPU.
Any other key of that configuration may be given too, and is tried when the model is inspected. The
tokenizer is made from the training rows; `vocab_size` is the most it may know.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from training.engine import tokenization
from training.engine.options import option
from training.engine.students import ARCHITECTURES, Architecture, Shape, transformers_models

JSON = dict[str, Any]
OWN = ("tokenizer", "lowercase", "max_length")  # ours, not the configuration's


@dataclass(frozen=True, slots=True)
class Text:
    tokenizer: str = option(
        "wordpiece",
        choices=("wordpiece", "bpe", "word"),
        help="Made from the training rows, when there is no checkpoint that brings its own.",
    )
    vocab_size: int = option(
        8000, minimum=16, maximum=500_000, label="Vocabulary", help="Most tokens it may know."
    )
    lowercase: bool = option(True, help="Forget upper case and accents.")
    max_length: int = option(
        64, minimum=4, maximum=8192, label="Longest text", help="Tokens; the rest is cut off."
    )


@dataclass(frozen=True, slots=True)
class Encoder(Text):
    hidden_size: int = option(128, minimum=4, maximum=8192, label="Width", help="Of every layer.")
    num_hidden_layers: int = option(2, minimum=1, maximum=128, label="Layers", help="Blocks.")
    num_attention_heads: int = option(
        2, minimum=1, maximum=128, label="Heads", help="Must divide the width."
    )
    intermediate_size: int = option(
        512, minimum=4, maximum=65_536, label="Inner width", help="Usually four times the width."
    )


@dataclass(frozen=True, slots=True)
class DistilEncoder(Text):
    dim: int = option(128, minimum=4, maximum=8192, label="Width", help="Of every layer.")
    n_layers: int = option(2, minimum=1, maximum=128, label="Layers", help="Blocks.")
    n_heads: int = option(2, minimum=1, maximum=128, label="Heads", help="Must divide the width.")
    hidden_dim: int = option(
        512, minimum=4, maximum=65_536, label="Inner width", help="Usually four times the width."
    )


@dataclass(frozen=True, slots=True)
class Decoder(Text):
    n_embd: int = option(128, minimum=4, maximum=8192, label="Width", help="Of every layer.")
    n_layer: int = option(2, minimum=1, maximum=128, label="Layers", help="Blocks.")
    n_head: int = option(2, minimum=1, maximum=128, label="Heads", help="Must divide the width.")


class TransformersText(Architecture):
    kind = "transformers"
    open = True
    tasks = ("text-classification",)
    recommended: ClassVar[JSON] = {"epochs": 10, "batch_size": 32, "learning_rate": 5e-4}
    recommended_trained: ClassVar[JSON] = {"epochs": 4, "batch_size": 32, "learning_rate": 5e-5}
    derived: ClassVar[JSON] = {}  # settings that a small model of this type needs

    @classmethod
    def wished_words(cls, options: JSON) -> tokenization.Wish:
        return tokenization.Wish(
            kind=options["tokenizer"],
            vocabulary=options["vocab_size"],
            lowercase=options["lowercase"],
            max_length=options["max_length"],
            framed=True,
        )

    @classmethod
    def build(cls, options: JSON, shape: Shape) -> nn.Module:
        return transformers_models.build(cls.key, "text-classification", cls.values(options, shape))

    @classmethod
    def values(cls, options: JSON, shape: Shape) -> JSON:
        """The library's own configuration."""
        values = {name: value for name, value in options.items() if name not in OWN}
        special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
        lengths = {"max_position_embeddings": shape.max_length + 8}
        if "num_attention_heads" in values:  # Llama and its kin default to the large models' number
            values.setdefault("num_key_value_heads", values["num_attention_heads"])
        return {
            **special,
            **lengths,
            **cls.derived,
            **values,
            "vocab_size": shape.vocabulary,
            "num_labels": shape.classes,
        }


BERT = "Devlin et al.: BERT, 1810.04805"
LABELS = {
    "albert": ("ALBERT", "Lan et al., 1909.11942"),
    "bert": ("BERT", BERT),
    "big_bird": ("BigBird", "Zaheer et al., 2007.14062"),
    "bloom": ("BLOOM", "BigScience, 2211.05100"),
    "camembert": ("CamemBERT", "Martin et al., 1911.03894"),
    "convbert": ("ConvBERT", "Jiang et al., 2008.02496"),
    "data2vec-text": ("Data2Vec text", "Baevski et al., 2202.03555"),
    "deberta": ("DeBERTa", "He et al., 2006.03654"),
    "deberta-v2": ("DeBERTa v2", "He et al., 2006.03654"),
    "distilbert": ("DistilBERT", "Sanh et al., 1910.01108"),
    "electra": ("ELECTRA", "Clark et al., 2003.10555"),
    "ernie": ("ERNIE", "Sun et al., 1904.09223"),
    "fnet": ("FNet", "Lee-Thorp et al., 2105.03824"),
    "gpt2": ("GPT-2", "Radford et al., 2019"),
    "gpt_neox": ("GPT-NeoX", "Black et al., 2204.06745"),
    "ibert": ("I-BERT", "Kim et al., 2101.01321"),
    "llama": ("Llama", "Touvron et al., 2302.13971"),
    "longformer": ("Longformer", "Beltagy et al., 2004.05150"),
    "megatron-bert": ("Megatron BERT", "Shoeybi et al., 1909.08053"),
    "mistral": ("Mistral", "Jiang et al., 2310.06825"),
    "mobilebert": ("MobileBERT", "Sun et al., 2004.02984"),
    "modernbert": ("ModernBERT", "Warner et al., 2412.13663"),
    "mpnet": ("MPNet", "Song et al., 2004.09297"),
    "nystromformer": ("Nyströmformer", "Xiong et al., 2102.03902"),
    "phi": ("Phi", "Li et al., 2309.05463"),
    "qwen2": ("Qwen2", "Yang et al., 2407.10671"),
    "rembert": ("RemBERT", "Chung et al., 2010.12821"),
    "roberta": ("RoBERTa", "Liu et al., 1907.11692"),
    "roberta-prelayernorm": ("RoBERTa PreLayerNorm", "Ott et al., 1904.01038"),
    "roformer": ("RoFormer", "Su et al., 2104.09864"),
    "xlm-roberta": ("XLM-RoBERTa", "Conneau et al., 1911.02116"),
}
OPTIONS: dict[str, type] = {
    "distilbert": DistilEncoder,
    "gpt2": Decoder,
    "bloom": Text,
}
DERIVED: dict[str, JSON] = {
    "albert": {"embedding_size": 64},
    "electra": {"embedding_size": 64},
}


def _declare(key: str) -> type[TransformersText]:
    label, paper = LABELS[key]
    options = OPTIONS.get(key, Encoder)
    summary = f"{label} as transformers builds it, from any configuration, with random weights."
    return type(
        label.replace(" ", "").replace("-", "") + "Text",
        (TransformersText,),
        {
            "key": key,
            "label": label,
            "summary": summary,
            "paper": paper,
            "shows": transformers_models.shows(key),
            "Options": options,
            "derived": DERIVED.get(key, {}),
            "__doc__": summary,
        },
    )


for _key in transformers_models.TEXT:
    ARCHITECTURES.register(_declare(_key))
