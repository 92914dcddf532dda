"""Tables never break a word, however narrow the terminal."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.cli.render.output import cells, console, table
from tests.cli.calling import call, traitly, write_settings

WORDS = st.lists(st.text("abcdefghij-/.:łß日", min_size=1, max_size=30), max_size=6).map(" ".join)


@given(
    headers=st.lists(st.sampled_from(["", "Person", "Finding", "not reached, because"]), min_size=1, max_size=6),
    rows=st.lists(st.lists(WORDS, min_size=6, max_size=6), min_size=1, max_size=4),
    width=st.integers(20, 200),
)
def test_every_word_stays_whole(headers: list[str], rows: list[list[str]], width: int) -> None:
    made = table(*headers)
    for row in rows:
        made.add_row(*cells(*row[: len(headers)]))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as told:
        patch.setenv("COLUMNS", str(width))
        console().print(made)
    shown = told.getvalue().split()
    for row in rows:
        for word in " ".join(row[: len(headers)]).split():
            assert any(word in piece for piece in shown), (word, told.getvalue())


@pytest.mark.parametrize("columns", ["80", "40", "200"])
def test_check_breaks_no_word(redis_url: str, tmp_path: Path, columns: str) -> None:
    config = write_settings(tmp_path, redis_url=redis_url, targets={"traitly": traitly("http://127.0.0.1:9")})
    told = call("check", "--json", PROVISIONER_CONFIG=str(config)).document["checks"]
    shown = call("check", PROVISIONER_CONFIG=str(config), COLUMNS=columns).out.split()
    for line in told:
        # Ages grow between the two looks
        if line["subject"] not in ("beat", "workers", "disk", "redis memory", "clock"):
            for word in line["message"].split():
                assert any(word in piece for piece in shown), word


def test_all_bad_expressions_are_told_at_once(redis_url: str, tmp_path: Path) -> None:
    target = traitly("http://127.0.0.1:9")
    target["attributes"] = {**target["attributes"], "email": "LOWER(E-Mail)", "name": "MAX(first_name)"}
    target["scope"] = "department <"
    roster = {"employed": "Status of work = 'a'"}
    config = write_settings(tmp_path, redis_url=redis_url, targets={"traitly": target}, roster=roster)
    answer = call("check", "--json", PROVISIONER_CONFIG=str(config))
    assert answer.code == 2
    wrong = {line["message"].partition(":")[0]: line for line in answer.document["checks"] if line["verdict"] == "fail"}
    path = "targets.traitly"
    assert set(wrong) >= {f"{path}.attributes.email", f"{path}.attributes.name", f"{path}.scope", "roster.employed"}
    email = wrong[f"{path}.attributes.email"]
    assert 'in double quotes: LOWER("E-Mail")' in email["remedy"]
    assert "dtype" not in email["message"]
    assert "TRY_CAST" not in email["message"] + email["remedy"]
    assert "\"Status of work\" = 'a'" in wrong["roster.employed"]["remedy"]
