"""Adapters: a pretrained student learns only thin corrections of its layers (Hu et al.: LoRA,
2106.09685), which are added to its weights when the run ends. The finished model is an ordinary
one, as large as before; its training held moments and gradients of a few percent of its weights.

Needs peft, which is an extra of its own: `pip install 'distillhub[lora]'`.
"""

from typing import Any

import torch
from torch import nn

from training.engine import alterations
from training.engine.errors import ConfigError, Fault
from training.engine.students.transformers_models import Wrapped

FIELD = "training.lora_rank"
SCALE = 2  # of a correction: alpha over rank, the usual choice
ADAPTER = "run"
UNCALLED = {"wavlm": ".attention."}  # hands these layers' weights to a function of torch


def wrap(module: nn.Module, rank: int) -> nn.Module:
    """The module with an adapter of this rank beside every linear layer, changed in place.

    Only adapters learn, and what stands behind the body: the last layers are often new. An adapter
    begins as nothing, so the answers are still the module's own; its weights are drawn from torch's
    generator. Raises ConfigError.
    """
    try:
        import peft  # noqa: PLC0415 - an extra
    except ImportError:
        raise _refused("Adapters need peft: pip install 'distillhub[lora]'.") from None
    if not isinstance(module, Wrapped):
        raise _refused("Adapters are for transformers models; train this student whole.")
    model = module.model
    inside = f"{body(model)}."
    layers = [
        name
        for name, layer in model.named_modules()
        if name.startswith(inside)
        and (isinstance(layer, nn.Linear) or alterations.is_transposed(layer))
        and UNCALLED.get(model.config.model_type, "-") not in name
    ]
    if not layers:
        raise _refused("It has no linear layers to put adapters beside; train this student whole.")
    settings = peft.LoraConfig(
        r=rank,
        lora_alpha=SCALE * rank,
        target_modules=layers,
        fan_in_fan_out=all(alterations.is_transposed(model.get_submodule(one)) for one in layers),
    )
    peft.inject_adapter_in_model(settings, model, adapter_name=ADAPTER)
    for name, weight in model.named_parameters():
        if not name.startswith(inside):
            weight.requires_grad_(True)
    return module


def merge(module: nn.Module) -> nn.Module:
    """The module with its corrections added to its weights, and no adapter left; every weight may
    learn again. A module without adapters stays as it is."""
    adapted = [
        (name, layer) for name, layer in module.named_modules() if hasattr(layer, "get_base_layer")
    ]
    for name, layer in adapted:
        whole: Any = layer
        with torch.no_grad():
            whole.merge(safe_merge=True)
        alterations.replace(module, name, whole.get_base_layer())
    if adapted:
        module.requires_grad_(True)
    return module


def body(model: Any) -> str:
    """The name of the part before the last layers."""
    prefix = str(model.base_model_prefix)
    return prefix if hasattr(model, prefix) else "encoder"  # Whisper's, whose decoder is left out


def _refused(sentence: str) -> ConfigError:
    return ConfigError([Fault(FIELD, sentence)])
