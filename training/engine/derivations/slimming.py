"""A smaller network with the teacher's weights: built from a changed configuration where that can
say it, else with altered layers; then filled with the entries that are kept."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from training.engine import alterations, networks
from training.engine.derivations.structure import Axis, Group, configuration
from training.engine.errors import ModelError
from training.engine.networks import Network
from training.engine.students.transformers_models import Wrapped

JSON = dict[str, Any]
Masks = dict[tuple[str, Axis], Tensor]  # bool, one for each entry of a layer's axis


OF_STAGES = ("stage_names", "out_features", "out_indices")


class Width(NamedTuple):
    """The numbers a transformer carries from layer to layer: how many, and which are kept."""

    before: int
    kept: Tensor  # bool, [before]


def rebuilt(teacher: Network, changes: Mapping[str, Any], altered: JSON | None = None) -> Network:
    """A network like the teacher but for these keys of its configuration, with weights that are
    still to be filled. `altered` are its altered layers, by default the teacher's. Raises
    ModelError."""
    layers = alterations.of(teacher.config) if altered is None else altered
    config = alterations.plain(teacher.config) | dict(changes)
    if layers:
        config[alterations.ALTERED] = layers
    if not isinstance(teacher.module, Wrapped):
        drawn = networks.draw(
            teacher.name,
            teacher.architecture,
            config,
            teacher.task,
            teacher.labels,
            teacher.preprocessing,
            teacher.problem,
        )
        return replace(teacher, module=drawn.module, config=config, width=drawn.width)
    model = teacher.module.model
    theirs = copy.deepcopy(model.config)
    try:
        if hasattr(theirs, "stage_names"):  # counted from the number of layers, when it is made
            said = {
                name: value for name, value in theirs.to_dict().items() if name not in OF_STAGES
            }
            theirs = type(theirs).from_dict({**said, **changes})
            theirs._attn_implementation = model.config._attn_implementation
        for name, value in changes.items():
            setattr(theirs, name, value)
        smaller = type(model)(theirs)
        if getattr(model, "pooler", smaller) is None:
            smaller.pooler = None
    except Exception as error:  # the library raises whatever its many authors chose
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"Its configuration cannot be made smaller so: {reason}") from error
    module = copy.deepcopy(teacher.module, {id(model): smaller})
    alterations.apply(module, layers)
    width = int(theirs.hidden_size) if teacher.width else 0
    return replace(teacher, module=module, config=config, width=width)


def slimmed(teacher: Network, kept: Sequence[tuple[Group, Tensor]], changes: JSON) -> Network:
    """The teacher without the channels that are not kept (bool, `[channels]` of each group).
    `changes` are what its configuration may say of it. Raises ModelError."""
    masks = masks_of(teacher.module, kept)
    student = None
    if changes:
        try:
            student = rebuilt(teacher, changes)
        except ModelError:
            student = None
    if student is None or not _has(student.module, masks):
        student = _altered(teacher, masks)
    fill(student.module, teacher.module, masks)
    return student


def masks_of(module: nn.Module, kept: Sequence[tuple[Group, Tensor]]) -> Masks:
    """Of each layer that takes part, the entries that stay."""
    masks: Masks = {}
    for group, stays in kept:
        for part in group.parts:
            inputs, outputs = alterations.sizes(module.get_submodule(part.layer))
            whole = outputs if part.axis == "outputs" else inputs
            mask = masks.setdefault((part.layer, part.axis), torch.ones(whole, dtype=torch.bool))
            end = part.start + group.size * part.each
            mask[part.start : end] = stays.repeat_interleave(part.each)
    return masks


def fill(
    student: nn.Module,
    teacher: nn.Module,
    masks: Masks,
    *,
    width: Width | None = None,
    named: Callable[[str], str] = str,
) -> None:
    """Every weight and buffer of the student from the teacher's. `named` says what the teacher
    calls one of them; `width` is kept wherever no mask says otherwise. Raises ModelError where
    shapes do not fit."""
    given = teacher.state_dict()
    taken = {}
    for name, wanted in student.state_dict().items():
        value = given.get(named(name))
        if value is None:
            raise ModelError(f"Its teacher has no {named(name)}.")
        layer, _, weight = name.rpartition(".")
        for dim in range(value.ndim):
            if value.shape[dim] == wanted.shape[dim]:
                continue
            axis = axis_of(student.get_submodule(layer), weight, dim)
            mask = masks.get((layer, axis))
            if mask is None and width is not None and value.shape[dim] == width.before:
                mask = width.kept
            if mask is None or len(mask) != value.shape[dim] or mask.sum() != wanted.shape[dim]:
                raise ModelError(f"{name.removeprefix('model.')} cannot be made smaller.")
            value = value.index_select(dim, mask.nonzero().flatten())
        taken[name] = value
    student.load_state_dict(taken)


def axis_of(layer: nn.Module, weight: str, dim: int) -> Axis:
    """What a dimension of one of a layer's weights counts."""
    if weight != "weight" or layer.get_parameter("weight").ndim == 1:
        return "outputs"
    if alterations.is_transposed(layer) or isinstance(layer, nn.Embedding):
        return "outputs" if dim else "inputs"
    return "inputs" if dim else "outputs"


def _has(module: nn.Module, masks: Masks) -> bool:
    """Whether its layers have as many entries as stay."""
    for (layer, axis), mask in masks.items():
        inputs, outputs = alterations.sizes(module.get_submodule(layer))
        if (outputs if axis == "outputs" else inputs) != int(mask.sum()):
            return False
    return True


def _altered(teacher: Network, masks: Masks) -> Network:
    """A copy of the teacher whose layers have as many entries as stay."""
    layers: JSON = {}
    for (layer, axis), mask in masks.items():
        if not mask.all():
            layers.setdefault(layer, {})[axis] = int(mask.sum())
    module = copy.deepcopy(teacher.module)
    alterations.apply(module, layers)
    joined = alterations.joined(alterations.of(teacher.config), layers)
    return replace(teacher, module=module, config={**teacher.config, alterations.ALTERED: joined})


def changed(config: Mapping[str, Any], groups: Sequence[Group], counts: Sequence[int]) -> JSON:
    """What a configuration says when each group has so many channels; nothing where it cannot."""
    changes: JSON = {}
    for group, count in zip(groups, counts, strict=True):
        key, place = group.option
        if not key or (place is None and changes.get(key, count) != count):
            return {}
        if place is None:
            changes[key] = count
        else:
            changes.setdefault(key, list(config[key]))[place] = count
    return changes


def model_config(teacher: Network) -> Mapping[str, Any]:
    """The configuration that says how many channels there are."""
    if isinstance(teacher.module, Wrapped):
        told: Mapping[str, Any] = configuration(teacher.module).to_dict()
        return told
    return teacher.config
