"""Parquet."""

from collections.abc import Iterator
from typing import IO, Any, ClassVar

from distillhub.lib.later import Later
from projects.ingest import columnar, registry
from projects.ingest.columnar import BATCH, Columnar
from projects.ingest.formats import BadFile
from projects.ingest.records import MOST_CELL

pa, pc, pq = Later("pyarrow"), Later("pyarrow.compute"), Later("pyarrow.parquet")

MAGIC = b"PAR1"
WORD = "Parquet"
MOST_FOOTER = 256 << 20  # bytes of the schema and the places of columns, for whoever reads them


@registry.register
class Parquet(Columnar):
    key = "parquet"
    label = "Parquet"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    def recognises(self, head: bytes, name: str) -> bool:
        return head.startswith(MAGIC)

    def schema(self, file: IO[bytes]) -> Any:
        return columnar.guarded(WORD, _opened, file).schema_arrow

    def count(self, file: IO[bytes]) -> int:
        return int(columnar.guarded(WORD, _opened, file).metadata.num_rows)

    def batches(self, file: IO[bytes], names: list[str] | None) -> Iterator[Any]:
        return batches(file, names, BATCH)


def batches(file: IO[bytes], names: list[str] | None, rows: int) -> Iterator[Any]:
    """As Columnar.batches, of so many rows."""
    opened = columnar.guarded(WORD, _opened, file, dictionaries=True)
    # Of one group of rows after the other: over all at once pyarrow keeps some of each.
    for group in range(opened.num_row_groups):
        some = opened.iter_batches(rows, row_groups=[group], columns=names, use_threads=False)
        while (batch := columnar.guarded(WORD, next, some, None)) is not None:
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                _refuse_large(column, name)
            yield batch


def _opened(file: IO[bytes], *, dictionaries: bool = False) -> Any:
    """With `dictionaries` a text that stands in many rows is held once, as it is in the file: a
    few bytes of it may else become gigabytes."""
    file.seek(0)
    limits = {"thrift_string_size_limit": MOST_FOOTER, "thrift_container_size_limit": 10**7}
    opened = pq.ParquetFile(file, **limits)
    if not dictionaries:
        return opened
    texts = [
        field.name
        for field in opened.schema_arrow
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    file.seek(0)
    return pq.ParquetFile(file, read_dictionary=texts, **limits)


def _refuse_large(column: Any, name: str) -> None:
    if pa.types.is_dictionary(column.type) and len(column.dictionary):
        longest = pc.max(pc.binary_length(column.dictionary)).as_py() or 0
        if longest > 4 * MOST_CELL:
            raise BadFile(
                f"A cell of the column {name[:50]!r} is longer than {MOST_CELL:,} characters."
            )
