"""The terms of a configuration that ever count, and what they look at."""

from collections.abc import Iterator

from training import catalog
from training.engine.config import RunConfig
from training.engine.terms import Loss


def of(config: RunConfig) -> Iterator[tuple[str, Loss]]:
    """Every term that ever counts, and where it stands."""
    if not config.stages:
        for place, term in enumerate(config.losses):
            if term.weight or term.final_weight:
                yield f"losses.{place}.kind", term
    for number, stage in enumerate(config.stages):
        for place, term in enumerate(stage.losses):
            if term.weight or term.final_weight:
                yield f"stages.{number}.losses.{place}.kind", term


def wanted(term: Loss) -> list[str]:
    """What a term looks at beside the logits: hidden, attention, relations, embedding."""
    return catalog.wanted({"kind": term.kind, **term.options})


def placed(term: Loss) -> bool:
    """Whether a term looks at layers, which have places."""
    return bool({"hidden", "attention", "relations"} & set(wanted(term)))


def listen(config: RunConfig) -> bool:
    """Whether a term hears the teachers."""
    return any(
        (catalog.find("losses", term.kind) or {}).get("needs_teacher") for _, term in of(config)
    )
