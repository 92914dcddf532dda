"""Text of any script in the letters of ASCII. Pure."""

from __future__ import annotations

import polars as pl
from anyascii import anyascii


def transliterated(column: pl.Series) -> pl.Series:
    """A text column in ASCII: ł is l, ø is o, ß is ss, Ж is Zh. Each different text beyond ASCII is looked at once."""
    beyond = (column.str.len_bytes() != column.str.len_chars()).fill_null(value=False)
    if not beyond.any():
        return column
    rows = beyond.arg_true()
    texts = column.gather(rows)
    different = texts.unique()
    # Composed first, or an accent by itself would be a letter of its own
    plain = pl.Series([anyascii(text) for text in different.str.normalize("NFC").to_list()], dtype=pl.String)
    return column.scatter(rows, texts.replace_strict(different, plain, return_dtype=pl.String))
