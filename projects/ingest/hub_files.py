"""Which files of a dataset repository hold its rows, and of which split each is.

The card (the YAML above README.md) decides where it says so: `configs` with their `data_files`, as
https://huggingface.co/docs/hub/datasets-manual-configuration has them, and `dataset_info` with the
names of numbered classes. Else the names of files and folders do, by the rules of
https://huggingface.co/docs/hub/datasets-file-names-and-splits. A loading script is never run.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import yaml

from projects.ingest.formats import SPLIT_WORDS, SPLITS, TEST, BadFile

CONVERTED = "refs/convert/"  # revisions of rows that the hub has converted itself
MOST_CARD = 4 << 20  # characters of a card that is read
MOST_PATTERN = 500
SHOWN = 12  # names in a sentence

#: The hub knows two words more than uploads do.
WORDS = SPLIT_WORDS | {"eval": TEST, "evaluation": TEST}

#: What files that hold rows are called: of a repository with several kinds the first is taken, for
#: most have the same rows in each.
KINDS = (
    (".parquet", ".pq"),
    (".arrow", ".feather"),
    (".jsonl", ".ndjson", ".json"),
    (".csv", ".tsv"),
    (".xlsx", ".xlsm"),
    (".zip", ".tar", ".tgz"),
    (".conllu", ".conll", ".bio", ".iob", ".iob2"),
    (".txt", ".md"),
)
PACKED = ".gz"
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".opus")
BESIDE = ("readme", "license", "licence", "notice", "citation", "changelog", "metadata")
TOLD = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json")

_SHARD = re.compile(r"(?:^|/)(\w+(?:\.\w+)*)-\d{4,}-of-\d{4,}[^/]*$")


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as the hub lists it."""

    path: str
    bytes: int
    sha256: str | None = None  # where the hub gives it


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is to be fetched: `split` is train, validation, test or not told."""

    file: Listed
    split: str | None


@dataclass(slots=True)
class Choice:
    config: str  # empty where there is but one
    files: list[Wanted]
    left: list[str] = field(default_factory=list)  # splits that are not taken
    classes: dict[str, list[str]] = field(default_factory=dict)  # names of numbered classes


def card_of(readme: str) -> dict[str, Any]:
    """The YAML above a README; nothing where there is none, or it cannot be read."""
    found = re.match(r"\ufeff?\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|$)", readme, re.DOTALL)
    if found is None or len(found.group(1)) > MOST_CARD:
        return {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        events = yaml.parse(found.group(1), Loader=loader)
        if any(isinstance(one, yaml.AliasEvent) for one in events):
            return {}  # some unfold without end, and no card needs one
        card = yaml.load(found.group(1), Loader=loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return card if isinstance(card, dict) else {}


def choose(
    repository: str,
    listed: Iterable[Listed],
    card: Mapping[str, Any],
    *,
    revision: str = "main",
    config: str = "",
    splits: Sequence[str] = (),
) -> Choice:
    """The files to fetch. Raises BadFile with what to choose instead."""
    files = {one.path: one for one in listed}
    configs = _configs(card)
    if configs:
        chosen, told = _config(repository, configs, config)
        groups = _told(repository, told, files)
    elif revision.startswith(CONVERTED):
        chosen, groups = _converted(repository, files, config)
    elif config:
        raise BadFile(
            f"{repository} has no configurations, so there is none called {config}. Leave it empty."
        )
    else:
        chosen, groups = "", _by_names(_data(repository, files))
    taken, left = _taken(repository, groups, splits)
    return Choice(chosen, taken, left, _classes(card, chosen))


def of_one_kind(paths: Iterable[str]) -> list[str]:
    """Of files those that hold rows, by what they are called; of several kinds the first."""
    listed = list(paths)
    for kind in KINDS:
        if found := [path for path in listed if _is_data(path, kind)]:
            return found
    return []


def split_of(name: str) -> str | None:
    """train, validation or test, as the name of a split says: `train_sft` is train."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((WORDS[word] for word in words if word in WORDS), None)


# What the card says ---------------------------------------------------------------------------


def _configs(card: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found = card.get("configs")
    if not isinstance(found, list):
        return {}
    return {
        str(one.get("config_name", "default")): one
        for one in found
        if isinstance(one, dict) and (one.get("data_files") or one.get("data_dir"))
    }


def _config(
    repository: str, configs: dict[str, dict[str, Any]], asked: str
) -> tuple[str, dict[str, Any]]:
    if asked and asked not in configs:
        raise BadFile(
            f"{repository} has no configuration called {asked}; there are {_listed(configs)}."
        )
    standard = [name for name, one in configs.items() if one.get("default") is True]
    standard += [name for name in configs if name == "default" or len(configs) == 1]
    name = asked or next(iter(standard), "")
    if not name:
        raise BadFile(f"{repository} has several configurations: choose one of {_listed(configs)}.")
    return name, configs[name]


Groups = dict[str | None, list[Listed]]  # by the name of the split, as the repository has it


def _told(repository: str, config: dict[str, Any], files: dict[str, Listed]) -> Groups:
    """The files that `data_files` names: a pattern, several, or some for each split."""
    folder = str(config.get("data_dir") or "").strip("/")
    within = f"{folder}/" if folder not in ("", ".") else ""
    told = config.get("data_files")
    if not told:
        inside = {path: one for path, one in files.items() if path.startswith(within)}
        return _by_names(_data(repository, inside))
    if isinstance(told, dict):  # {split: patterns}
        told = [{"split": split, "path": path} for split, path in told.items()]
    if isinstance(told, list) and all(isinstance(one, dict) for one in told):
        groups: Groups = {}
        for one in told:
            split = str(one.get("split") or "train")
            groups.setdefault(split, []).extend(
                _matching(repository, one.get("path"), within, files)
            )
        return {split: list(dict.fromkeys(found)) for split, found in groups.items()}
    return _by_names(_matching(repository, told, within, files))


def _matching(
    repository: str, patterns: Any, within: str, files: dict[str, Listed]
) -> list[Listed]:
    found: dict[str, Listed] = {}
    for pattern in patterns if isinstance(patterns, list) else [patterns]:
        text = within + str(pattern or "").removeprefix("./").lstrip("/")
        if "://" in text:
            raise BadFile(
                f"{repository} names files outside of it ({text[:100]}), which are not fetched."
            )
        like = _pattern(text)
        fitting = {path: one for path, one in files.items() if like.fullmatch(path)}
        if not fitting:
            raise BadFile(f"{repository} has no file like {text[:100]}, which its card names.")
        found |= fitting
    return list(found.values())


def _pattern(text: str) -> re.Pattern[str]:
    """A path with `*` (within a folder), `**` (across folders), `?` and `[...]`."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    out = []
    for piece in re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]/]+\]|[^*?\[]+|\[", text[:MOST_PATTERN]):
        if piece.startswith("[") and len(piece) > 1:
            inside = piece[1:-1].replace("\\", "\\\\")
            out.append(f"[{'^' + inside[1:] if inside.startswith('!') else inside}]")
        else:
            out.append(parts.get(piece) or re.escape(piece))
    try:
        return re.compile("".join(out))
    except re.error:
        return re.compile(re.escape(text))


def _classes(card: Mapping[str, Any], config: str) -> dict[str, list[str]]:
    """The names of numbered classes, by column, as `dataset_info` gives them."""
    told = card.get("dataset_info")
    several = told if isinstance(told, list) else [told]
    infos = [one for one in several if isinstance(one, dict)]
    fitting = [one for one in infos if str(one.get("config_name", "default")) == config]
    features = (fitting or infos if len(infos) == 1 else fitting or [{}])[0].get("features")
    found: dict[str, list[str]] = {}
    for one in features if isinstance(features, list) else ():
        if isinstance(one, dict) and (names := _names(one)):
            found[str(one.get("name"))] = names
    return found


def _names(feature: Any) -> list[str]:
    """Of a column of classes, or of lists of them."""
    if not isinstance(feature, dict):
        return []
    for inside in ("dtype", "sequence", "list"):
        if names := _names(feature.get(inside)):
            return names
    label = feature.get("class_label")
    told: Any = label.get("names") if isinstance(label, dict) else None
    if isinstance(told, dict):  # {"0": "neg", "1": "pos"}
        try:
            by_number = {int(number): name for number, name in told.items()}
        except (TypeError, ValueError):
            return []
        whole = sorted(by_number) == list(range(len(by_number)))
        told = [by_number[number] for number in sorted(by_number)] if whole else []
    return [str(name) for name in told] if isinstance(told, list) else []


# What names say -------------------------------------------------------------------------------


def _data(repository: str, files: dict[str, Listed]) -> list[Listed]:
    """The files of the kind that holds the rows. Raises BadFile where there are none."""
    if found := of_one_kind(files):
        return [files[path] for path in found]
    raise BadFile(_nothing(repository, files))


def _is_data(path: str, kind: tuple[str, ...]) -> bool:
    name = PurePosixPath(path).name.lower()
    if any(part.startswith((".", "__")) for part in path.split("/")) or name in TOLD:
        return False
    if name.split(".")[0] in BESIDE:
        return False
    return name.removesuffix(PACKED).endswith(kind)


def _nothing(repository: str, files: dict[str, Listed]) -> str:
    """Why there is nothing to fetch, and what to do."""
    own = repository.rpartition("/")[2]
    scripts = sorted(path for path in files if path.endswith(".py") and "/" not in path)
    singles = [path for path in files if path.lower().endswith((*PICTURES, *SOUNDS))]
    if singles:
        return (
            f"{repository} holds {len(singles):,} single pictures or sounds. Upload them as a zip "
            f"of class folders, or try the revision {CONVERTED}parquet."
        )
    if scripts:
        script = f"{own}.py" if f"{own}.py" in scripts else scripts[0]
        return (
            f"{repository} holds only a loading script ({script}), which is never run. The hub has "
            f"the rows of many such datasets as Parquet: try the revision {CONVERTED}parquet, or "
            "upload the files."
        )
    return (
        f"{repository} holds no file with rows: no Parquet, Arrow, JSON, CSV, Excel, text, zip or "
        "tar."
    )


def _by_names(files: list[Listed]) -> Groups:
    """By the split that the name of a file says, else that of a folder around it. Where some say
    one, the others are no part of the rows."""
    for told in (_by_file, _by_folder):
        groups: Groups = {}
        for one in files:
            groups.setdefault(told(one.path), []).append(one)
        if set(groups) != {None}:
            groups.pop(None, None)
            return groups
    return {None: files}


def _by_file(path: str) -> str | None:
    shard = _SHARD.search(path)
    return shard.group(1) if shard else split_of(PurePosixPath(path).name)


def _by_folder(path: str) -> str | None:
    folders = path.split("/")[:-1]
    return next((found for one in reversed(folders) if (found := split_of(one))), None)


def _converted(repository: str, files: dict[str, Listed], asked: str) -> tuple[str, Groups]:
    """As the hub lays out what it has converted: configuration/split/0000.parquet."""
    configs: dict[str, Groups] = {}
    for one in _data(repository, files):
        folders = one.path.split("/")
        if len(folders) > 2:
            split = folders[-2].removeprefix("partial-")
            configs.setdefault(folders[0], {}).setdefault(split, []).append(one)
    if not configs:
        return "", _by_names(_data(repository, files))
    chosen, _ = _config(repository, {name: {} for name in configs}, asked)
    return chosen, configs[chosen]


# Which splits are taken -----------------------------------------------------------------------


def _taken(repository: str, groups: Groups, asked: Sequence[str]) -> tuple[list[Wanted], list[str]]:
    """The files of the splits asked for; unless some are, of those called train, validation or
    test; where none is, of all. And the splits that are left."""
    names = [name for name in groups if name is not None]
    absent = [name for name in asked if name not in names]
    if absent and names:
        raise BadFile(f"{repository} has no split {absent[0]}; there are {_listed(names)}.")
    if absent:
        raise BadFile(f"{repository} has no splits, so there is none called {absent[0]}.")
    known = [name for split in SPLITS for name in names if split_of(name) == split]
    chosen: list[str | None] = [*(asked or known or names)]
    if not names:
        chosen = [None]
    wanted = [
        Wanted(one, split_of(name) if name else None)
        for name in chosen
        for one in sorted(groups[name], key=lambda one: one.path)
    ]
    once = {one.file.path: one for one in reversed(wanted)}
    return [one for one in wanted if once.get(one.file.path) is one], [
        name for name in names if name not in chosen
    ]


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    rest = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + rest
