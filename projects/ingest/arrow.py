"""Arrow's own files (Feather version 2) and streams (`datasets` saves them)."""

from collections.abc import Iterator
from typing import IO, Any, ClassVar

from distillhub.lib.later import Later
from projects.ingest import columnar, registry
from projects.ingest.columnar import BATCH, Columnar
from projects.ingest.formats import BadFile

pa = Later("pyarrow")

FILE, STREAM = b"ARROW1", b"\xff\xff\xff\xff"
WORD = "Arrow"
MOST_BATCH = 1 << 30  # bytes that the file holds in one piece


@registry.register
class Arrow(Columnar):
    key = "arrow"
    label = "Arrow, Feather"
    suffixes: ClassVar[tuple[str, ...]] = (".arrow", ".feather", ".ipc", ".arrows")

    def recognises(self, head: bytes, name: str) -> bool:
        return head.startswith((FILE, STREAM))

    def schema(self, file: IO[bytes]) -> Any:
        return columnar.guarded(WORD, _opened, file).schema

    def count(self, file: IO[bytes]) -> int:
        return int(columnar.guarded(WORD, _count, file))

    def batches(self, file: IO[bytes], names: list[str] | None) -> Iterator[Any]:
        reader = columnar.guarded(WORD, _opened, file, names)
        for batch in _whole_batches(reader):
            if batch.nbytes > MOST_BATCH:
                raise BadFile(
                    f"The Arrow file holds more than {MOST_BATCH >> 20:,} MiB in one piece. Write "
                    "it in smaller batches, or as Parquet."
                )
            # What is not checked here could make the library read beyond the file's bytes.
            columnar.guarded(WORD, batch.validate, full=True)
            for begin in range(0, batch.num_rows, BATCH):
                yield batch.slice(begin, BATCH)


def _whole_batches(reader: Any) -> Iterator[Any]:
    if hasattr(reader, "num_record_batches"):
        for index in range(reader.num_record_batches):
            yield columnar.guarded(WORD, reader.get_batch, index)
        return
    while (batch := columnar.guarded(WORD, next, reader, None)) is not None:
        yield batch


def _opened(file: IO[bytes], names: list[str] | None = None) -> Any:
    file.seek(0)
    is_file = file.read(len(FILE)) == FILE
    file.seek(0)
    source, read = (
        pa.PythonFile(file, mode="r"),
        pa.ipc.open_file if is_file else pa.ipc.open_stream,
    )
    if names is None:
        return read(source)
    schema = read(source).schema
    file.seek(0)
    fields = [schema.get_field_index(name) for name in names]
    options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
    return read(pa.PythonFile(file, mode="r"), options=options)


def _count(file: IO[bytes]) -> int:
    """Streams do not say."""
    reader = _opened(file)
    return int(reader.count_rows()) if hasattr(reader, "count_rows") else 0
