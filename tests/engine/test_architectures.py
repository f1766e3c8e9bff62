"""Laws that every architecture keeps because it is registered."""

from pathlib import Path
from typing import Any

import pytest
import torch

from training.engine import networks, options, preflight, sounds, tokenization
from training.engine.answers import Wanted
from training.engine.errors import ModelError
from training.engine.networks import Place
from training.engine.pixels import ImagePreprocessing
from training.engine.sounds import SoundPreprocessing
from training.engine.students import ARCHITECTURES, Architecture, Shape, transformers_models
from training.engine.tables import TablePreprocessing
from training.engine.tasks import Preprocessing

# WavLM as transformers builds it gives torch a mask of each kind.
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")

TEXT, SOUND, TABLE = "text-classification", "audio-classification", "tabular-classification"
LABELS = ("a", "b", "c")
SMALL = [
    one.key for one in ARCHITECTURES if one.kind == "small" and one.tasks != ("text-generation",)
]
SOME = ["bert", "distilbert", "gpt2", "llama", "vit", "resnet", "mobilenet_v2", "convnext"]
SOME += ["wav2vec2", "hubert", "wavlm", "audio-spectrogram-transformer", "whisper"]
HEAVY = {"bit", "cvt", "efficientnet", "focalnet", "mobilevit", "poolformer", "pvt", "swinv2"}


def built(key: str, preprocessing: Preprocessing | None = None) -> networks.Network:
    architecture = ARCHITECTURES[key]
    config, faults = options.check(options.describe(architecture.Options), {})
    assert not faults
    torch.manual_seed(0)
    task = architecture.tasks[0]
    return networks.draw(
        key, key, config, task, LABELS, preprocessing or prepared(architecture, config)
    )


def prepared(architecture: type[Architecture], config: dict[str, Any]) -> Preprocessing:
    if architecture.tasks[0] == TEXT:
        wish = architecture.wished_words(config)
        return tokenization.learn(lambda: ["the cat sat on the mat", "a dog ran off"], wish)
    if architecture.tasks[0] == SOUND:
        return sounds.fitted(architecture.wished_sounds(config), 8000, 0.3)
    if architecture.tasks[0] == TABLE:
        return TablePreprocessing(
            numeric=("age", "hours"),
            mean=(40.0, 30.0),
            std=(9.0, 8.0),
            lacking=(True, False),
            categorical=("work", "place"),
            words=(("a", "b"), ("x", "y", "z")),
        )
    side = max(16, architecture.wished_pixels(config).minimum)
    return ImagePreprocessing(height=side, width=side, channels=1, mean=(0.5,), std=(0.3,))


@pytest.mark.parametrize("key", SMALL)
def test_it_shows_as_many_layers_as_it_says(key: str) -> None:
    network = built(key)
    said = ARCHITECTURES[key].layers
    asked = len(network.config[said]) if isinstance(said, str) else said
    answer = Place(torch.device("cpu")).answer(network, some_inputs(network), Wanted(hidden=True))
    assert len(answer.hidden) == asked


def some_inputs(network: networks.Network, rows: int = 4) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    if isinstance(network.preprocessing, ImagePreprocessing):
        side = network.preprocessing.height
        return {"pixel_values": torch.randn(rows, 1, side, side)}
    if isinstance(network.preprocessing, SoundPreprocessing):
        return heard(network.preprocessing, rows)
    if isinstance(network.preprocessing, TablePreprocessing):
        columns = [torch.randint(most, (rows,)) for most in network.preprocessing.categories]
        return {"numbers": torch.randn(rows, 3), "categories": torch.stack(columns, dim=1)}
    assert isinstance(network.preprocessing, tokenization.TextPreprocessing)
    ids = torch.randint(1, network.preprocessing.vocabulary, (rows, 7))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def heard(said: SoundPreprocessing, rows: int) -> dict[str, torch.Tensor]:
    if said.features == "waveform":
        waves = torch.randn(rows, said.samples)
        return {"input_values": waves, "attention_mask": torch.ones_like(waves, dtype=torch.int64)}
    if said.features == "kaldi":
        return {"input_values": torch.randn(rows, said.frames, said.mels)}
    features = torch.randn(rows, said.mels, said.frames)
    return {"input_features": features if said.features == "whisper" else features[:, None]}


@pytest.mark.parametrize("key", SMALL + SOME)
def test_it_answers_logits_for_each_row_and_every_weight_learns(key: str) -> None:
    network = built(key)
    logits = network.module(**some_inputs(network))
    assert logits.shape == (4, 3)
    logits.logsumexp(-1).sum().backward()
    idle = [
        name
        for name, weight in network.module.named_parameters()
        if weight.requires_grad and weight.grad is None and "mask_token" not in name
    ]
    assert idle == []


@pytest.mark.parametrize("key", SMALL + SOME)
def test_saved_and_loaded_it_answers_the_same(key: str, tmp_path: Path) -> None:
    network = built(key)
    inputs = some_inputs(network)
    network.module.eval()
    networks.save(network, tmp_path / "model")
    again = networks.load(key, tmp_path / "model", network.task)
    again.module.eval()
    with torch.inference_mode():
        assert torch.allclose(network.module(**inputs), again.module(**inputs), rtol=1e-4)
    assert again.labels == LABELS
    assert again.architecture == key
    assert again.config == network.config
    assert again.preprocessing.digest == network.preprocessing.digest


@pytest.mark.parametrize("key", [key for key in SMALL + SOME if key != "gpt2"])
def test_a_rows_answer_does_not_depend_on_the_rows_beside_it(key: str) -> None:
    """Padding included: a text or a sound alone, and beside a longer one."""
    network = built(key)
    network.module.eval()
    inputs = some_inputs(network)
    if "attention_mask" in inputs:
        real = 4 if network.task == TEXT else 1600
        for value in inputs.values():
            value[0, real:] = 0
        alone = {name: value[:1, :real] for name, value in inputs.items()}
    else:
        alone = {name: value[:1] for name, value in inputs.items()}
    with torch.inference_mode():
        together = network.module(**inputs)[:1]
        assert torch.allclose(network.module(**alone), together, atol=1e-5)


@pytest.mark.parametrize("key", SMALL)
def test_one_seed_draws_one_network(key: str) -> None:
    one, two = built(key).module.state_dict(), built(key).module.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_every_transformers_architecture_can_be_counted_without_memory() -> None:
    for architecture in ARCHITECTURES:
        if architecture.kind != "transformers" or architecture.key in HEAVY:
            continue
        config, _ = options.check(options.describe(architecture.Options), {})
        shape = Shape(classes=3, vocabulary=90, max_length=12, channels=3, height=32, width=32)
        if architecture.tasks[0] == SOUND:
            shape = Shape(classes=3, samples=8000, frames=100, mels=config.get("num_mel_bins", 0))
        assert 1_000 < preflight.parameters(architecture.key, config, shape) < 30_000_000


def test_the_allow_list_names_what_transformers_maps() -> None:
    from transformers.models.auto import modeling_auto as auto

    assert set(transformers_models.TEXT) <= set(
        auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    )
    assert set(transformers_models.IMAGE) <= set(auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES)
    assert set(transformers_models.AUDIO) <= set(auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES)


def test_a_configuration_that_cannot_be_built_is_explained() -> None:
    shape = Shape(classes=3, vocabulary=90, max_length=12)
    config, _ = options.check(options.describe(ARCHITECTURES["bert"].Options), {})
    with pytest.raises(ModelError, match="bert cannot be built"):
        ARCHITECTURES["bert"].build({**config, "num_attention_heads": 3}, shape)


@pytest.mark.parametrize(
    "absurd",
    [{"num_hidden_layers": 100_000}, {"hidden_size": 10**9}, {"hidden_sizes": [1] * 100_000}],
)
def test_an_absurd_configuration_is_refused_before_it_is_built(absurd: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        transformers_models.refuse_absurd(absurd)


def test_the_student_a_hundred_times_smaller_has_the_size_it_should() -> None:
    config, _ = options.check(
        options.describe(ARCHITECTURES["bag_of_embeddings"].Options), {"dim": 16}
    )
    shape = Shape(classes=77, vocabulary=1443, max_length=128)
    assert preflight.parameters("bag_of_embeddings", config, shape) == 24_397


@pytest.mark.parametrize("kind", ["word", "wordpiece", "bpe"])
def test_a_tokenizer_of_the_same_texts_is_the_same_file(kind: str) -> None:
    wish = tokenization.Wish(kind=kind, vocabulary=60)
    texts = ["the cat sat on the mat", "a cat ran", "the dog sat", "cats and dogs ##s"] * 3
    made = [tokenization.learn(lambda: texts, wish) for _ in range(5)]
    assert len({one.digest for one in made}) == 1
    assert made[0].encode(["the dog sat", "", "Ünknown cats"])[1] == []
