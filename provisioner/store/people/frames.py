"""Frames as bytes in Redis, and what is done to all of them alike."""

from __future__ import annotations

import io

import polars as pl


def pack(frame: pl.DataFrame) -> bytes:
    """A frame as bytes."""
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="zstd")
    return buffer.getvalue()


def unpack(content: bytes) -> pl.DataFrame:
    """The inverse of `pack`."""
    return pl.read_ipc(content)


def rekeyed(frame: pl.DataFrame, old: str, new: str, digest: str | None = None) -> pl.DataFrame:
    """People with one key in place of another; where both have a row, that of the new key stays.

    Args:
        digest: of the row with the new key, None if nobody knows it.
    """
    if old not in frame["_key"]:
        return frame
    if new in frame["_key"]:
        return frame.filter(pl.col("_key") != old)
    renamed = frame.with_columns(pl.col("_key").replace({old: new}))
    if digest is None or "_digest" not in frame.columns:
        return renamed
    mine = pl.when(pl.col("_key") == new).then(pl.lit(digest)).otherwise(pl.col("_digest"))
    return renamed.with_columns(mine.alias("_digest"))
