# pyright: basic, reportMissingImports=false
"""A transcript's words as a Parquet file. The only module that imports `pyarrow.parquet`, hence the pyright mode: it is an extra."""

from __future__ import annotations

from io import BytesIO

import msgspec

from lithophone.formats.columns import WordColumns


def write_parquet(columns: WordColumns, file: str) -> bytes:
    """A row for each word; `file`, the recording, is in every row, so that the files of a folder can be read as one table.

    Times are float64, in seconds, `speaker` int32, `log_probability` float32.
    """
    import pyarrow as pa  # noqa: PLC0415 - an extra, which takes a moment to import
    from pyarrow import parquet  # noqa: PLC0415 - as above

    schema = pa.schema(
        [
            pa.field("file", pa.string(), nullable=False),
            pa.field("start", pa.float64(), nullable=False),
            pa.field("end", pa.float64(), nullable=False),
            pa.field("word", pa.string(), nullable=False),
            pa.field("speaker", pa.int32()),
            pa.field("log_probability", pa.float32()),
        ]
    )
    rows = {"file": [file] * len(columns.word), **msgspec.structs.asdict(columns)}
    written = BytesIO()
    parquet.write_table(pa.table(rows, schema=schema), written, compression="zstd")
    return written.getvalue()
