"""A version as a download, in the form that is asked for."""

from django.http import FileResponse

from distillhub.lib import downloads
from distillhub.lib.errors import Invalid
from projects.ingest import written
from projects.models import DatasetVersion
from projects.services import datasets

#: key: what it is called. A zip is offered of pictures and sounds.
FORMS = {
    "parquet": "Parquet",
    "csv": "CSV",
    "jsonl": "JSON Lines",
    "zip": "Zip of class folders",
}


def forms(version: DatasetVersion) -> dict[str, str]:
    """Those that this version can be had in."""
    media = version.input_column in written.MEDIA
    return {key: words for key, words in FORMS.items() if media or key != "zip"}


def download(*, version: DatasetVersion, form: str) -> FileResponse:
    """Raises Invalid for a form that this version cannot be had in, NotReady and Missing."""
    offered = forms(version)
    if form not in offered:
        sentence = f"There is no such form; there are {', '.join(offered)}."
        raise Invalid(sentence, fields={"as": [sentence]})
    stream = datasets.open_file(version=version)
    name = f"{version.dataset.name}-{version.number}.{form}"
    if form == "csv":
        pieces = written.as_csv(stream)
        return downloads.streamed(pieces, name=name, media_type="text/csv; charset=utf-8")
    if form == "jsonl":
        pieces = written.as_json_lines(stream)
        return downloads.streamed(pieces, name=name, media_type="application/jsonl")
    if form == "zip":
        files = written.as_files(stream, version.input_column, version.labels)
        return downloads.archive(files, name=name)
    return downloads.attachment(
        stream,
        name=name,
        media_type="application/vnd.apache.parquet",
        size=version.file_bytes,
        sha256=version.file_sha256,
    )
