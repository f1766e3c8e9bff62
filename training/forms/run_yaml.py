"""A run configuration as YAML, to be read and edited by people.

Plain values mean what they mean in JSON and in YAML 1.2: `yes`, `1:30` and dates are texts, `1e-4`
is a number. Anchors are refused, because a few lines of them can stand for billions of values.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

LONGEST = 50_000  # characters
DEEPEST = 12
PLAIN = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
        r"|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
}


class Unreadable(Exception):
    """It is no YAML, or holds what no configuration has. `line` counts from 1."""

    def __init__(self, sentence: str, line: int | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.line = line


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the library's own way


class _Dumper(yaml.SafeDumper):
    """Quotes what either edition of YAML would take for something else than a text."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


for _kind, (_pattern, _first) in PLAIN.items():
    for _one in (_Loader, _Dumper):
        _one.add_implicit_resolver(
            f"tag:yaml.org,2002:{_kind}", re.compile(rf"^(?:{_pattern})$"), _first
        )
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: _float(node.value))


def read(text: str) -> dict[str, Any]:
    """The configuration. Raises Unreadable."""
    if len(text) > LONGEST:
        raise Unreadable(f"It is longer than {LONGEST:,} characters.")
    try:
        _look_through(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        _refuse_twice(node)
        read = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "it cannot be understood"
        sentence = f"{str(problem)[:1].upper()}{str(problem)[1:]}."
        raise Unreadable(sentence, mark.line + 1 if mark else None) from None
    except ValueError as error:  # a number of too many digits
        raise Unreadable(f"{error}.") from None
    if not isinstance(read, dict):
        raise Unreadable("A run configuration is a list of names with their values.")
    plain: dict[str, Any] = _plain(read)
    return plain


def write(configuration: Mapping[str, Any]) -> str:
    """The configuration as text; reading it gives the same."""
    return yaml.dump(
        dict(configuration),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=90,
    )


def line_of(text: str, path: str) -> int | None:
    """Where the value at a path such as `losses.0.temperature` stands, from 1; where there is no
    such value, the nearest that would hold it. None in a text that cannot be read."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError:
        return None
    line = None
    for step in path.split("."):
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == step), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
            node = node.value[int(step)]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _look_through(text: str) -> None:
    """Raises Unreadable for anchors and absurd nesting, before anything is built of it."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise Unreadable("Anchors and aliases are not read: write the value out.", line)
        if getattr(event, "tag", None) not in (None, "!"):
            raise Unreadable("Tags are not read: write the value alone.", line)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise Unreadable("It is nested too deeply.", line)


def _refuse_twice(node: Any) -> None:
    """Raises Unreadable where a name stands twice: YAML would silently take the last."""
    if isinstance(node, yaml.SequenceNode):
        for one in node.value:
            _refuse_twice(one)
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for name, value in node.value:
            if name.value in seen:
                raise Unreadable(f"{name.value} stands here twice.", name.start_mark.line + 1)
            if isinstance(name, yaml.ScalarNode):
                seen.add(name.value)
            _refuse_twice(value)


def _plain(value: Any) -> Any:
    """With texts as keys, as JSON has them."""
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _float(text: str) -> float:
    special = {".inf": math.inf, "-.inf": -math.inf, "+.inf": math.inf, ".nan": math.nan}
    return special[text.lower()] if text.lower() in special else float(text)
