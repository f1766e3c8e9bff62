"""Pictures or sounds in a column of a Parquet file, as `datasets` and the hub store them: bytes, or
an object with `bytes` and a `path`. Columns beside it say label, split, id and group of each row.

What becomes of a picture or a sound is said in image_folder.py and audio_folder.py.
"""

import base64
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any, ClassVar

from distillhub.lib.later import Later
from projects.ingest import (
    audio_folder,
    cells,
    columnar,
    image_folder,
    labels,
    parquet,
    records,
    registry,
    table_format,
    table_guesses,
)
from projects.ingest.formats import (
    MOST_LABEL,
    SPLIT_WORDS,
    BadFile,
    Format,
    LeftOut,
    Look,
    Plan,
    Row,
)

pa = Later("pyarrow")

AT_ONCE = 16  # rows in memory with their pictures or sounds
LOOKED_AT = 5000  # rows, without these
SHOWN = 8  # pictures
WORDY = 20  # characters of a text on average: then the rows are texts, with pictures beside
IMAGE_TASK, SOUND_TASK = "image-classification", "audio-classification"


class MediaTable(Format):
    has_columns: ClassVar[bool] = True
    suffixes: ClassVar[tuple[str, ...]] = parquet.Parquet.suffixes
    role: ClassVar[str]  # of the column, and what it is called when it is stored
    plural: ClassVar[str]  # in sentences
    noun: ClassVar[str] = "row"
    unreadable: ClassVar[str]  # code of the issue

    @abstractmethod
    def is_one(self, head: bytes) -> bool:
        """Whether a file that begins so is a picture, or a sound."""

    @abstractmethod
    def row(self, place: str, encoded: bytes, told: dict[str, Any]) -> Row:
        """Raises BadFile, and what decoders raise."""

    def recognises(self, head: bytes, name: str) -> bool:
        return head.startswith(parquet.MAGIC)

    def fits(self, file: IO[bytes]) -> int:
        """Behind a table of texts, which may have pictures beside."""
        try:
            if not self._media(file):
                return -1
            found = self._cells(file, LOOKED_AT)[1]
        except BadFile:
            return -1
        return -1 if any(_is_wordy(name, values) for name, values in found.items()) else 1

    def sniff(self, file: IO[bytes], name: str) -> dict[str, Any]:
        schema = _schema(file)
        if len(schema) > records.MOST_COLUMNS:
            raise BadFile(f"{name} has more than {records.MOST_COLUMNS} columns.")
        if not self._media(file):
            raise BadFile(f"No column of {name} holds {self.plural} that can be read.")
        return {}

    def check_dialect(self, dialect: dict[str, Any]) -> dict[str, Any]:
        return {}

    def inputs(self, plan: Plan) -> list[dict[str, str]]:
        one = {"name": self.role, "type": self.role, "role": "input"}
        origin = plan.columns.get(self.role)
        return [one | ({"from": str(origin)} if origin else {})]

    def roles(self, task: str) -> dict[str, bool]:
        return {self.role: True, "label": False, "split": False}

    def look(self, file: IO[bytes], name: str, dialect: dict[str, Any]) -> Look:
        media = self._media(file)
        count = parquet.Parquet().count(file)
        names, found = self._cells(file, LOOKED_AT)
        seen = min(count, LOOKED_AT)
        look = Look(seen=seen, complete=seen == count, estimated=count)
        for one in names:
            look.values[one] = Counter(cell for cell in found.get(one, ()) if cell.strip())
            described = table_format.described(one, look.values[one])
            look.columns.append(
                described | ({"filled": seen, "media": True} if one in media else {})
            )
        shown = range(min(seen, table_format.SHOWN_ROWS))
        look.lines = [place + 1 for place in shown]
        most = table_format.SHOWN_CHARACTERS
        look.rows = [
            [found[one][place][:most] if one in found else "" for one in names] for place in shown
        ]
        self._show(file, look, media)
        return look

    def _show(self, file: IO[bytes], look: Look, media: list[str]) -> None:
        """What is seen of the first pictures or sounds."""

    def guess_columns(self, look: Look, task: str) -> dict[str, Any]:
        media = [one["name"] for one in look.columns if one.get("media")]
        others = [one for one in look.columns if not one.get("media")]
        likely = table_guesses.roles([*others, _WORDS], look.seen)
        return {
            self.role: media[0] if media else None,
            "label": likely["label"],
            "split": likely["split"],
            "ignored": [*media[1:], *likely["ignored"]],
        }

    def label_counts(self, reading: dict[str, Any], look: Look) -> dict[str, int]:
        label = reading["columns"].get("label") or ""
        classes = (reading.get("classes") or {}).get(label, ())
        counts = Counter[str]()
        for text, rows in look.values.get(label, Counter()).items():
            counts[(labels.named(text, classes) if classes else text).strip()] += rows
        return dict(counts.most_common())

    def rows(
        self, file: IO[bytes], name: str, dialect: dict[str, Any], plan: Plan
    ) -> Iterator[Row | LeftOut]:
        wanted = str(plan.columns.get(self.role))
        if wanted not in self._media(file):
            raise BadFile(f"The column {wanted!r} of {name} holds no {self.plural}.")
        roles = {role: plan.columns.get(role) for role in ("label", "split")}
        texts = [one for one in (*roles.values(), *plan.others) if one]
        for place, media, told in self._read(file, wanted, texts):
            if not media:
                yield LeftOut(str(place), "empty_input")
                continue
            label = _label(told.get(roles["label"] or ""), place, plan)
            beside = {
                "label": label,
                "split": _split(told.get(roles["split"] or ""), place),
                "others": tuple(told.get(one) or None for one in plan.others),
            }
            try:
                yield self.row(str(place), media, beside)
            except (image_folder.TooLarge, audio_folder.TooLarge):
                raise
            except Exception as error:  # decoders fail in more ways than can be listed
                yield LeftOut(str(place), self.unreadable, str(error)[:200])

    def _read(
        self, file: IO[bytes], media: str, texts: list[str]
    ) -> Iterator[tuple[int, bytes | None, dict[str, str]]]:
        """(row, picture or sound, the cells of other columns) of every row."""
        schema = _schema(file)
        classes = columnar.class_names(schema)
        known = set(schema.names) - {
            field.name for field in schema if columnar.holds_bytes(field.type)
        }
        kept = [one for one in dict.fromkeys(texts) if one in known]
        place = 0
        for batch in parquet.batches(file, [media, *kept], AT_ONCE):
            pieces = batch.column(batch.schema.get_field_index(media)).to_pylist()
            columns = [
                columnar.column_values(
                    batch.column(batch.schema.get_field_index(one)), one, classes.get(one), place
                )
                for one in kept
            ]
            for at, piece in enumerate(pieces):
                place += 1
                told = {
                    one: cells.cell(column[at]) for one, column in zip(kept, columns, strict=True)
                }
                yield place, _encoded(piece), told

    def _media(self, file: IO[bytes]) -> list[str]:
        """The columns of pictures or sounds, by what the first of each is."""
        schema = _schema(file)
        names = [field.name for field in schema if _may_hold(field.type)]
        if not names or len(set(schema.names)) < len(schema):
            return []
        first = next(parquet.batches(file, names, AT_ONCE), None)
        if first is None:
            return []
        found = []
        for name, column in zip(first.schema.names, first.columns, strict=True):
            encoded = next((one for one in map(_encoded, column.to_pylist()) if one), b"")
            if self.is_one(encoded[:64]):
                found.append(name)
        return found

    def _cells(self, file: IO[bytes], most: int) -> tuple[list[str], dict[str, list[str]]]:
        """The columns, and the cells of the first rows of those that hold no bytes."""
        schema = _schema(file)
        classes = columnar.class_names(schema)
        kept = [field.name for field in schema if not columnar.holds_bytes(field.type)]
        found: dict[str, list[str]] = {one: [] for one in kept}
        for batch in parquet.batches(file, kept, 1000) if kept else ():
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                values = columnar.column_values(column, name, classes.get(name), 0)
                found[name] += [cells.cell(one) for one in values]
            if len(found[kept[0]]) >= most:
                break
        return list(schema.names), {name: values[:most] for name, values in found.items()}

    def row_size(self, row: Row) -> int:
        return len(row.input) + sum(4 * len(str(one)) for one in row.others) + 300


@registry.register
class PictureTable(MediaTable):
    key = "parquet_pictures"
    label = "Pictures in Parquet"
    tasks: ClassVar[tuple[str, ...]] = (IMAGE_TASK,)
    role: ClassVar[str] = "image"
    plural: ClassVar[str] = "pictures"
    unreadable: ClassVar[str] = "unreadable_image"

    def is_one(self, head: bytes) -> bool:
        webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
        return webp or head.startswith(
            (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")
        )

    def measures(self, plan: Plan) -> tuple[str, ...]:
        return ("width", "height")

    def row(self, place: str, encoded: bytes, told: dict[str, Any]) -> Row:
        if len(encoded) > image_folder.MOST_IMAGE_BYTES:
            most = image_folder.MOST_IMAGE_BYTES >> 20
            raise image_folder.TooLarge(f"Row {place} has a picture of more than {most} MiB.")
        picture = image_folder.decoded(encoded, f"The picture of row {place}")
        return Row(
            source=place,
            input=picture.encoded,
            key=picture.key,
            measures=(picture.width, picture.height),
            kind=picture.mode,
            remarks=("image_reencoded",) if picture.reencoded else (),
            **told,
        )

    def _show(self, file: IO[bytes], look: Look, media: list[str]) -> None:
        if not media:
            return
        for place, encoded, _ in self._read(file, media[0], []):
            if place > SHOWN:
                return
            try:
                small = image_folder.thumbnail(encoded or b"", image_folder.THUMBNAIL)
            except Exception as error:  # as above
                detail = f"The picture of row {place} cannot be decoded: {str(error)[:100]}."
                look.problems.append({"severity": "warning", "detail": detail})
                continue
            address = "data:image/png;base64," + base64.b64encode(small).decode()
            look.pictures.append({"address": address, "label": " ", "name": f"row {place}"})


@registry.register
class SoundTable(MediaTable):
    key = "parquet_sounds"
    label = "Sounds in Parquet"
    tasks: ClassVar[tuple[str, ...]] = (SOUND_TASK,)
    role: ClassVar[str] = "audio"
    plural: ClassVar[str] = "sounds"
    unreadable: ClassVar[str] = "unreadable_sound"

    def is_one(self, head: bytes) -> bool:
        wave = head[:4] == b"RIFF" and head[8:12] == b"WAVE"
        mpeg = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2
        return wave or mpeg or head.startswith((b"fLaC", b"OggS", b"ID3"))

    def inputs(self, plan: Plan) -> list[dict[str, str]]:
        return [*super().inputs(plan), {"name": "seconds", "type": "number", "role": "measure"}]

    def measures(self, plan: Plan) -> tuple[str, ...]:
        return ("milliseconds", "rate")

    def row(self, place: str, encoded: bytes, told: dict[str, Any]) -> Row:
        if len(encoded) > audio_folder.MOST_SOUND_BYTES:
            most = audio_folder.MOST_SOUND_BYTES >> 20
            raise audio_folder.TooLarge(f"Row {place} has a sound of more than {most} MiB.")
        sound = audio_folder.decoded(encoded, f"The sound of row {place}")
        return Row(
            source=place,
            input=sound.encoded,
            key=sound.key,
            measures=(round(sound.seconds * 1000), sound.rate),
            values=(sound.encoded, sound.seconds),
            kind=sound.kind,
            remarks=("silent_sound",) if sound.is_silent else (),
            **told,
        )


#: Stands for the input where roles are guessed, so that no other column is taken for it.
_WORDS = {
    "name": "\0", "filled": 1, "distinct": 1, "length": 1000.0, "counted": False,
    "numeric": False, "structured": False, "examples": [],
}  # fmt: skip


def _schema(file: IO[bytes]) -> Any:
    return parquet.Parquet().schema(file)


def _may_hold(kind: Any) -> bool:
    """Bytes, or an object with `bytes`."""
    types = pa.types
    if types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and _may_hold(kind.field(at).type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _encoded(value: Any) -> bytes | None:
    if isinstance(value, dict):
        value = value.get("bytes")
    return value if isinstance(value, bytes) and value else None


def _is_wordy(name: str, values: list[str]) -> bool:
    filled = [one for one in values if one.strip()]
    named = name.strip().lower() in table_guesses.TEXT_NAMES
    return bool(filled) and (named or sum(map(len, filled)) > WORDY * len(filled))


def _label(cell: str | None, place: int, plan: Plan) -> str | None:
    classes = plan.classes.get(plan.columns.get("label") or "", ())
    label = (labels.named(cell or "", classes) if classes else cell or "").strip()
    if len(label) > MOST_LABEL:
        raise BadFile(
            f"The label in row {place} has {len(label)} characters; at most {MOST_LABEL} may be.",
            line=place,
        )
    return label or None


def _split(cell: str | None, place: int) -> str | None:
    if cell is None:
        return None
    split = SPLIT_WORDS.get(cell.strip().lower())
    if split is None:
        raise BadFile(
            f"Row {place} says split {cell[:50]!r}; use train, validation or test.", line=place
        )
    return split
