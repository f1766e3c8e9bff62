"""What Parquet and Arrow share: a schema, and batches of columns that become objects.

Columns of bytes are left out and named: they are pictures, sounds or programs' own. Classes that
the Hugging Face library has numbered (`ClassLabel`) get their names back. Types that an extension
adds are read as what they are stored as, and nothing of a file is ever run.
"""

import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, ClassVar

from distillhub.lib.later import Later
from projects.ingest import record_format, records, table_guesses
from projects.ingest.formats import BadFile, LeftOut
from projects.ingest.record_format import Placed, RecordFormat

pa, pc = Later("pyarrow"), Later("pyarrow.compute")

BATCH = 1000  # rows
FEW = 16  # rows that are made objects at once, where cells are large
LARGE = 1 << 16  # bytes of a row, on average
MOST_ROWS = 200_000_000
MOST_REASON = 200  # characters of what the library says

Names = dict[str, list[str]]  # of the classes of a column


class Columnar(RecordFormat):
    noun: ClassVar[str] = "row"

    @abstractmethod
    def schema(self, file: IO[bytes]) -> Any:
        """Raises BadFile."""

    @abstractmethod
    def count(self, file: IO[bytes]) -> int:
        """Rows, where the file says so; else 0. Raises BadFile."""

    @abstractmethod
    def batches(self, file: IO[bytes], names: list[str] | None) -> Iterator[Any]:
        """Batches of rows with the columns of these names, or all. Raises BadFile."""

    def sniff(self, file: IO[bytes], name: str) -> dict[str, Any]:
        schema = self.schema(file)
        if len(schema) > records.MOST_COLUMNS:
            raise BadFile(
                f"{name} has {len(schema):,} columns; at most {records.MOST_COLUMNS} are read."
            )
        if self.count(file) > MOST_ROWS:
            raise BadFile(f"{name} has more than {MOST_ROWS:,} rows, the most that are read.")
        return {"layout": self.guess_layout(file, {})}

    def check_dialect(self, dialect: dict[str, Any]) -> dict[str, Any]:
        return {"layout": self.check_layout(dialect)}

    def notes(self, file: IO[bytes], dialect: dict[str, Any]) -> list[dict[str, Any]]:
        left = [field.name for field in self.schema(file) if holds_bytes(field.type)]
        if not left:
            return []
        shown = ", ".join(repr(one[:50]) for one in left[:5])
        detail = f"Left out, because they hold bytes and no text: {shown}."
        if len(left) == len(self.schema(file)):
            detail = f"All columns hold bytes and no text: {shown}."
        detail += " Pictures and sounds are read for tasks of images and sounds."
        severity = "error" if len(left) == len(self.schema(file)) else "warning"
        return [{"severity": severity, "detail": detail}]

    def estimated(self, file: IO[bytes], dialect: dict[str, Any], seen: int) -> int:
        return self.count(file) or seen

    def objects(
        self,
        file: IO[bytes],
        dialect: dict[str, Any],
        *,
        skips: bool,
        names: Sequence[str] | None = None,
    ) -> Iterator[Placed | LeftOut]:
        schema = self.schema(file)
        fields = [field for field in schema if not holds_bytes(field.type)]
        twice = len({field.name for field in schema}) < len(schema)
        if names is not None:
            fields = [field for field in fields if _is_among(field.name, names)]
        if not fields and not twice:
            return
        classes = class_names(schema)
        asked = None if twice else [field.name for field in fields]
        place = 0
        for batch in self.batches(file, asked):
            kept = [at for at, one in enumerate(batch.schema) if not holds_bytes(one.type)]
            keys = [batch.schema.field(at).name for at in kept]
            if twice:
                keys = table_guesses.column_names(keys, len(keys))
            step = FEW if batch.nbytes > LARGE * max(1, batch.num_rows) else max(1, batch.num_rows)
            for begin in range(0, batch.num_rows, step):
                piece = batch.slice(begin, step)
                columns = [
                    column_values(piece.column(at), key, classes.get(key), place)
                    for at, key in zip(kept, keys, strict=True)
                ]
                for values in zip(*columns, strict=True):
                    place += 1
                    yield place, dict(zip(keys, values, strict=True))


def refused(word: str, error: Exception) -> BadFile:
    """What a library says of a file that it cannot read, in a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return BadFile(f"The {word} file cannot be read: {lines[0][:MOST_REASON].rstrip('.')}.")


def guarded(word: str, read: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """What `read` gives. Raises BadFile for what the library says of a file."""
    try:
        return read(*given, **named)
    except BadFile:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        raise refused(word, error) from None


def _is_among(key: str, names: Sequence[str]) -> bool:
    own = record_format.named(key)
    return any(one == own or one.startswith(f"{own}.") for one in names)


def holds_bytes(kind: Any) -> bool:
    """Whether values are bytes, or hold some."""
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name in ("arrow.uuid", "arrow.json", "arrow.bool8"):
            return False
        return holds_bytes(kind.storage_type)
    types = pa.types
    if types.is_dictionary(kind):
        return holds_bytes(kind.value_type)
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return True
    if types.is_binary_view(kind):
        return True
    return any(holds_bytes(kind.field(at).type) for at in range(kind.num_fields))


def column_values(column: Any, key: str, classes: list[str] | None, place: int) -> list[Any]:
    """Python's values of a column. Raises BadFile with the row that it begins at."""
    try:
        if isinstance(column.type, pa.BaseExtensionType) and column.type.extension_name not in (
            *("arrow.uuid", "arrow.json", "arrow.bool8"),
        ):
            column = column.storage
        values: list[Any] = _without_nanoseconds(column).to_pylist()
    except (pa.ArrowException, ValueError, OverflowError, TypeError, KeyError) as error:
        raise BadFile(
            f"The column {key[:50]!r} cannot be read from row {place + 1} on: "
            f"{str(error)[:MOST_REASON].rstrip('.')}.",
            line=place + 1,
        ) from None
    return values if classes is None else [_class(one, classes) for one in values]


def _without_nanoseconds(column: Any) -> Any:
    """A column that Python has values for: its times know microseconds. Numbers of single precision
    become texts with the digits they have: 0.1, and not 0.10000000149."""
    kind, types = column.type, pa.types
    if types.is_timestamp(kind) and kind.unit == "ns":
        return pc.cast(column, pa.timestamp("us", kind.tz), safe=False)
    if types.is_time64(kind) and kind.unit == "ns":
        return pc.cast(column, pa.time64("us"), safe=False)
    if types.is_duration(kind) and kind.unit == "ns":
        return pc.cast(column, pa.duration("us"), safe=False)
    if types.is_float32(kind):
        known = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        return pc.cast(known, pa.string())
    return column


def _class(value: Any, names: list[str]) -> Any:
    """The name of a class, or the names of a list of them; a number without a name stays."""
    if isinstance(value, list):
        return [_class(one, names) for one in value]
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return None if value == -1 else value  # as the library says that a row has none


def class_names(schema: Any) -> Names:
    """The names of numbered classes, by column, as the Hugging Face library keeps them."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = told["info"]["features"]
        found = {str(name): _names_of(feature) for name, feature in features.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: names for name, names in found.items() if names}


def _names_of(feature: Any) -> list[str]:
    """Of a column of classes, or of lists of them; none of others."""
    if isinstance(feature, list):
        feature = feature[0] if feature else None
    if not isinstance(feature, dict):
        return []
    if feature.get("_type") in ("Sequence", "List", "LargeList"):
        return _names_of(feature.get("feature"))
    names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        return []
    return names
