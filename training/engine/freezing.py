"""Transfer learning with a frozen backbone: the head alone learns, from what a trained network saw.

A frozen part gets no gradient and has no moments, and stays as a network in use is: its batch norms
keep the statistics they were trained with, and it drops nothing out. Dropout that stands right
before the head belongs to the head.
"""

from torch import nn

from training.engine import lora
from training.engine.errors import ConfigError, Fault
from training.engine.students.transformers_models import Embedding, Wrapped
from training.engine.transfer import FIELD


def freeze(module: nn.Module) -> nn.Module:
    """The module with a frozen backbone, changed in place. Raises ConfigError where it has no head
    apart from one."""
    parts, own = _backbone(module)
    kept = {id(weight) for part in parts for weight in part.parameters()} | set(map(id, own))
    learning = [one for one in module.parameters() if id(one) not in kept]
    if not kept or not learning:
        raise _refused(
            "Its last layer has no weights of its own (those of words may be shared with it): "
            "train the whole student."
        )
    for weight in [*own, *(weight for part in parts for weight in part.parameters())]:
        weight.requires_grad_(False)
    for part in parts:
        part.eval()
        _stay(part)
    return module


def learning(module: nn.Module) -> int:
    """How many weights learn."""
    return sum(one.numel() for one in module.parameters() if one.requires_grad)


def _backbone(module: nn.Module) -> tuple[list[nn.Module], list[nn.Parameter]]:
    """The modules before the head, and weights that stand in none of them."""
    if isinstance(module, Embedding):
        raise _refused("A network that makes vectors has no head that could learn alone.")
    if isinstance(module, Wrapped):
        name = lora.body(module.model)
        if not hasattr(module.model, name):
            raise _refused("It has no head apart from a backbone; train the whole student.")
        return [module.model.get_submodule(name)], []
    if not isinstance(getattr(module, "head", None), nn.Module):
        raise _refused("It has no layer called head; train the whole student.")
    parts = [
        part
        for name, part in module.named_children()
        if name != "head" and not isinstance(part, nn.Dropout)
    ]
    return parts, list(module.parameters(recurse=False))


def _stay(part: nn.Module) -> None:
    """Whoever sets the whole network to training leaves this part as it is."""

    def stay(mode: bool = True) -> nn.Module:
        return part

    part.train = stay  # type: ignore[method-assign]


def _refused(sentence: str) -> ConfigError:
    return ConfigError([Fault(FIELD, sentence)])
