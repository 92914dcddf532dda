"""What HR gets back: which rows and columns, in which forms, and written how."""

from __future__ import annotations

import asyncio
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fastexcel
import fsspec
import polars as pl
import pytest

from provisioner.errors import ConfigurationError, UsageError
from provisioner.model.event import Fact
from provisioner.progress.tables import written
from provisioner.progress.writeback import check_columns, export, table_of, write_due
from provisioner.runtime.context import Deployment
from provisioner.settings import Settings
from tests.inbound.support import PEOPLE, company
from tests.support.harness import sync_once

AWKWARD = pl.DataFrame(
    {
        "key": ["=1+1", "+61 2", "-5", "@home", "\tx", "\rx", "plain", 'a,b\n"c"', None],
        "=name": ["ä €", "'", "", "a=b", "x", "y", "\x01\ufffe", " spaced ", "last"],
    }
)


def test_no_cell_is_a_formula_in_csv() -> None:
    back = pl.read_csv(io.BytesIO(written(AWKWARD, "x.csv", "t")), infer_schema=False)
    assert back.columns == ["key", "'=name"]
    assert back["key"].to_list() == ["'=1+1", "'+61 2", "'-5", "'@home", "'\tx", "'\rx", "plain", 'a,b\n"c"', None]


def test_no_cell_is_a_formula_in_a_workbook() -> None:
    content = written(AWKWARD, "x.XLSX", "t")
    sheet = fastexcel.read_excel(content).load_sheet(0, dtypes="string").to_polars()
    assert sheet.columns == ["key", "'=name"]
    assert sheet["key"].to_list()[:4] == ["'=1+1", "'+61 2", "'-5", "'@home"]
    assert sheet["key"].to_list()[7] == 'a,b\n"c"'
    assert sheet["'=name"].to_list()[0] == "ä €"
    assert b"<f>" not in content
    wide = pl.DataFrame({f"c{number}": ["v"] for number in range(60)})
    assert fastexcel.read_excel(written(wide, "x.xlsx", "t")).load_sheet(0).width == 60


def test_parquet_holds_the_values_as_they_are() -> None:
    assert pl.read_parquet(io.BytesIO(written(AWKWARD, "x.parquet", "t"))).equals(AWKWARD)


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.xlsx"])
def test_the_same_table_is_the_same_file(name: str) -> None:
    assert written(AWKWARD, name, "t") == written(AWKWARD.clone(), name, "t")


@pytest.mark.parametrize("name", ["x", "x.txt", "x.xls", "csv", "folder.csv/x"])
def test_an_unknown_ending_is_told(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"writeback.url: the name must end in \.csv, \.parquet, \.xlsx"):
        written(AWKWARD, name, "writeback.url")


def _with(settings: Settings, url: str | None, **columns: str) -> Settings:
    part = settings.writeback.model_copy(update={"url": url, "columns": columns})
    return settings.model_copy(update={"writeback": part})


def _rows(path: Path) -> dict[str, dict[str, Any]]:
    table = pl.read_csv(path, infer_schema=False)
    return {row["employee_id"]: row for row in table.to_dicts()}


def test_one_row_per_person_with_what_each_target_knows(tmp_path: Path, redis_url: str) -> None:
    place = tmp_path / "new" / "back.csv"

    async def go(settings: Settings) -> None:
        async with Deployment.open(settings) as dep:
            with pytest.raises(UsageError, match="No roster has been read yet"):
                await export(dep)
            assert await write_due(dep) is None
            await sync_once(dep)
            await dep.inbound.keep_facts("mtribes", "W1", [Fact("tribes", 1.0, {"tribes": "Sales;=x"})], 1.0)
            assert (await write_due(dep)) is not None
            assert await write_due(dep) is None
            rows = _rows(place)
            assert list(rows) == ["W1", "W2", "W3", "W4"]
            ada, dan = rows["W1"], rows["W4"]
            assert list(ada)[:5] == ["employee_id", "msid", "tz", "tribes", "mail"]
            assert ada["mail"] == "ada@example.com"
            assert ada["tribes"] == "Sales;=x"
            assert ada["msid"].startswith("2.") or "." in ada["msid"]
            assert ada["tribal_habits_account"] == "W1"
            assert ada["tribal_habits_status"] == "active"
            assert ada["tribal_habits_outcome"] in ("create succeeded", "enrol succeeded")
            assert ada["habitate_outcome"] == "create succeeded"
            assert ada["traitly_synced_at"].endswith("Z")
            assert (dan["traitly_account"], dan["traitly_status"], dan["traitly_outcome"]) == (None, "none", None)

            # A held leaver is told as such; who left is still there
            before = place.stat().st_ino
            assert not (await export(dep)).written
            assert place.stat().st_ino == before
            (tmp_path / "roster.csv").write_text((tmp_path / "roster.csv").read_text().replace("active", "left", 1))
            await sync_once(dep)
            assert (await write_due(dep)) is not None
            gone = _rows(place)["W1"]
            assert gone["tribal_habits_status"] == "left"
            assert gone["tribal_habits_outcome"] == "leave succeeded"

            other = tmp_path / "other.parquet"
            told = await export(dep, str(other))
            assert asdict(told) == {"place": str(other), "rows": 4, "written": True}
            assert pl.read_parquet(other).equals(await table_of(dep))
            assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]

    with company(tmp_path, redis_url) as firm:
        columns = {"msid": "habitate.msid", "tz": "habitate.timezone", "tribes": "mtribes.tribes"}
        asyncio.run(go(_with(firm.settings, str(place), **columns, mail="traitly.email")))
        assert len(PEOPLE) == 4


def test_a_remote_place_is_written_whole_and_only_if_it_changed(tmp_path: Path, redis_url: str) -> None:
    async def go(settings: Settings) -> None:
        async with Deployment.open(settings) as dep:
            await sync_once(dep)
            told = await export(dep)
            assert (told.place, told.written) == ("memory:///hr/back.csv", True)
            system = fsspec.filesystem("memory")
            first = system.info("/hr/back.csv")["created"]
            assert not (await export(dep)).written
            assert system.info("/hr/back.csv")["created"] == first
            assert system.cat_file("/hr/back.csv").startswith(b"employee_id,")

    with company(tmp_path, redis_url) as firm:
        asyncio.run(go(_with(firm.settings, "memory:///hr/back.csv")))


def test_what_cannot_be_written_is_told(tmp_path: Path, redis_url: str) -> None:
    async def go(settings: Settings) -> None:
        async with Deployment.open(settings) as dep:
            await sync_once(dep)
            (tmp_path / "file").write_text("")
            for url, says in (
                (str(tmp_path / "file" / "x.csv"), "cannot be written (NotADirectoryError)"),
                ("https://example.com/x.csv", "nothing can be written to https://"),
                ("nowhere://host/x.csv", "cannot be written"),
            ):
                with pytest.raises(ConfigurationError) as caught:
                    await export(dep, url)
                assert says in str(caught.value)
            with pytest.raises(UsageError, match="no place"):
                await export(dep)

    with company(tmp_path, redis_url) as firm:
        asyncio.run(go(firm.settings))


@pytest.mark.parametrize(
    ("source", "says"),
    [("habitate", "must be target.attribute"), ("habitat.msid", "did you mean 'habitate'?"), ("habitate.", "must be")],
)
def test_a_column_of_nothing_is_told(tmp_path: Path, redis_url: str, source: str, says: str) -> None:
    with company(tmp_path, redis_url) as firm, pytest.raises(ConfigurationError) as caught:
        check_columns(_with(firm.settings, None, column=source))
    assert "writeback.columns.column" in str(caught.value)
    assert says in str(caught.value)
