"""SQL expressions over columns of text: what is let through, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import ConfigurationError
from provisioner.expressions import (
    FUNCTIONS,
    Evaluated,
    compile_expression,
    evaluate,
    evaluate_predicate,
    evaluate_text,
    evaluate_texts,
)

WHERE = "targets.habitate.attributes.role"
COLUMNS = ("employee_id", "Work Email", "job_title", "start_date", "salary", "org_admin", "a", "b")

# One use of every function, and what it gives for the row of `ROW`
ROW = {"a": " Élan vital ", "b": "2024-02-29", "n": "-2.5", "e": None}
USES: dict[str, tuple[str, str | None]] = {
    "LOWER": ("LOWER(a)", "élan vital"),
    "UPPER": ("UPPER(a)", "ÉLAN VITAL"),
    "INITCAP": ("INITCAP(a)", "Élan Vital"),
    "ASCII": ("ASCII(LOWER(a)) || '!'", "elan vital !"),
    "REVERSE": ("REVERSE(b)", "92-20-4202"),
    "NORMALIZE": ("NORMALIZE(a)", "Élan vital"),
    "TRIM": ("TRIM(a) || '!'", "Élan vital!"),
    "LTRIM": ("LTRIM(a) || '!'", "Élan vital !"),
    "RTRIM": ("'!' || RTRIM(a)", "! Élan vital"),
    "LPAD": ("LPAD(n, 6, '0')", "00-2.5"),
    "RPAD": ("RPAD(n, 6, '0')", "-2.500"),
    "COALESCE": ("COALESCE(e, b)", "2024-02-29"),
    "IFNULL": ("IFNULL(e, 'none')", "none"),
    "NULLIF": ("NULLIF(b, '2024-02-29')", None),
    "IF": ("IF(e IS NULL, 'no', 'yes')", "no"),
    "GREATEST": ("GREATEST(b, '2025')", "2025"),
    "LEAST": ("LEAST(b, '2025')", "2024-02-29"),
    "CONCAT": ("CONCAT(n, e, b)", "-2.52024-02-29"),
    "CONCAT_WS": ("CONCAT_WS('/', n, e, b)", "-2.5/2024-02-29"),
    "REPLACE": ("REPLACE(b, '-', '.')", "2024.02.29"),
    "REGEXP_REPLACE": ("REGEXP_REPLACE(b, '^[0-9]+', 'Y')", "Y-02-29"),
    "SUBSTR": ("SUBSTR(b, 1, 4)", "2024"),
    "SUBSTRING": ("SUBSTRING(b FROM 6 FOR 2)", "02"),
    "LEFT": ("LEFT(b, 4)", "2024"),
    "RIGHT": ("RIGHT(b, 2)", "29"),
    "SPLIT_PART": ("SPLIT_PART(b, '-', 2)", "02"),
    "LENGTH": ("LENGTH(a)", "12"),
    "CHAR_LENGTH": ("CHAR_LENGTH(b)", "10"),
    "CHARACTER_LENGTH": ("CHARACTER_LENGTH(b)", "10"),
    "STARTS_WITH": ("STARTS_WITH(b, '20')", "true"),
    "ENDS_WITH": ("ENDS_WITH(b, '20')", "false"),
    "REGEXP_LIKE": ("REGEXP_LIKE(b, '^[0-9-]+$')", "true"),
    "DATE": ("DATE(b)", "2024-02-29"),
    "STRFTIME": ("STRFTIME(DATE(b), '%d/%m/%Y')", "29/02/2024"),
    "EXTRACT": ("EXTRACT(YEAR FROM DATE(b))", "2024"),
    "DATE_PART": ("DATE_PART('month', DATE(b))", "2"),
    "CAST": ("CAST(n AS DOUBLE)", "-2.5"),
    "TRY_CAST": ("TRY_CAST(b AS INTEGER)", None),
    "ABS": ("ABS(CAST(n AS DOUBLE))", "2.5"),
    "ROUND": ("ROUND(CAST(n AS DOUBLE) + 0.26, 1)", "-2.2"),
    "FLOOR": ("FLOOR(CAST(n AS DOUBLE))", "-3"),
    "CEIL": ("CEIL(CAST(n AS DOUBLE))", "-2"),
    "CEILING": ("CEILING(CAST(n AS DOUBLE))", "-2"),
    "SIGN": ("SIGN(CAST(n AS DOUBLE))", "-1"),
    "MOD": ("MOD(CAST('7' AS INTEGER), 4)", "3"),
}


def frame(**columns: Sequence[str | None]) -> pl.DataFrame:
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def text(expression: str, rows: pl.DataFrame) -> Evaluated:
    return evaluate_text(compile_expression(expression, rows.columns, where=WHERE), rows)


def test_every_allowed_function_has_a_use() -> None:
    assert set(USES) == FUNCTIONS


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_every_allowed_function_works(function: str) -> None:
    expression, expected = USES[function]
    result = text(expression, frame(**{name: [value] for name, value in ROW.items()}))
    assert result.values.to_list() == [expected]
    assert not result.failed.any()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'department/' || LOWER(a)", "department/sales"),
        ("a || ';' || b", None),
        ("CASE WHEN a LIKE '%ale%' THEN 'Moderator' ELSE 'Member' END", "Moderator"),
        ("CASE a WHEN 'Sales' THEN 'S' WHEN 'IT' THEN 'I' END", "S"),
        ("a ILIKE 's%'", "true"),
        ("a NOT IN ('IT', 'HR')", "true"),
        ("a IN (b, 'Sales')", "true"),
        ("a BETWEEN 'A' AND 'Z'", "true"),
        ("b IS NULL AND NOT (a IS NULL)", "true"),
        ("a IS DISTINCT FROM b", "true"),
        ("b = 'x' OR a = 'IT'", None),
        ("a ~ '^S'", "true"),
        ("'it''s; -- no comment, SELECT MAX(x) AS y'", "it's; -- no comment, SELECT MAX(x) AS y"),
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("TRUE", "true"),
        ("NULL", None),
        ("''", None),
        ("DATE '2024-01-31'", "2024-01-31"),
        ('"a" || `a`', "SalesSales"),
        ("CAST(a AS VARCHAR(20))", "Sales"),
        ("a::text", "Sales"),
    ],
)
def test_what_expressions_give(expression: str, expected: str | None) -> None:
    assert text(expression, frame(a=["Sales"], b=[None])).values.to_list() == [expected]


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("MAX(a)", "the function MAX is not allowed: it looks at other rows"),
        ("COUNT(*)", "the function COUNT is not allowed"),
        ("FIRST(a)", "the function FIRST is not allowed"),
        ("STDDEV(a)", "the function STDDEV is not allowed"),
        ("ARRAY_AGG(a)", "the function ARRAY_AGG is not allowed"),
        ('"MAX"(a)', '"MAX" is no function'),
        ("LOWER(MAX(a))", "the function MAX is not allowed"),
        ("ROW_NUMBER() OVER (ORDER BY a)", "the function ROW_NUMBER is not allowed"),
        ("LOWER(a) OVER (PARTITION BY b)", "OVER is not allowed: it looks at other rows"),
        ("LOWER(a) FILTER (WHERE a = 'x')", "FILTER is not allowed: it looks at other rows"),
        ("(SELECT 1)", "SELECT is not allowed: an expression cannot hold a query"),
        ("a IN (SELECT b FROM c)", "SELECT is not allowed"),
        ("EXISTS(a)", "EXISTS is not allowed"),
        ("UNNEST(a)", "UNNEST is not allowed: one row has to stay one row"),
        ("NOW()", "the function NOW is not allowed: it changes with the clock"),
        ("CURRENT_DATE", "CURRENT_DATE is not allowed: it changes with the clock"),
        ("current_timestamp", "current_timestamp is not allowed: it changes with the clock"),
        ("READ_CSV('/etc/passwd')", "the function READ_CSV is not allowed"),
        ("COLUMNS('a')", "the function COLUMNS is not allowed"),
        ("STRPOS(a, '.')", "the function STRPOS is not allowed: polars reads its needle as a pattern"),
        ("a AS x", "AS is only for CAST"),
        ("CAST((a AS x) AS VARCHAR)", "AS is only for CAST"),
        ("a b", "two words follow each other"),
        ("Work Email", "two words follow each other"),
        ("*", "it is no SQL expression"),
        ('"*"', "a wildcard is no column"),
        ('"^a.*$"', "a wildcard is no column"),
        ("a.b", "there is no column 'a.b'"),
        ("a.", "a column whose name holds a dot is written in double quotes"),
        ("a.LOWER(b)", "the function a.LOWER is not allowed"),
        ("ASCII(MAX(a))", "the function MAX is not allowed"),
        ("ASCII(a, b)", "it is no SQL expression"),
        ("ASCII()", "it is empty"),
        ("ASCII(zzz)", "there is no column 'zzz'"),
        ("a; b", "the sign ';' at character 2 means nothing here"),
        ("a[1]", "the sign '[' at character 2"),
        ("a -- b", "comments are not allowed inside an expression"),
        ("a /* b */", "comments are not allowed inside an expression"),
        ("'open", "the quotation mark ' at character 1 is never closed"),
        ('"open', 'the quotation mark " at character 1 is never closed'),
        ("", "it is empty; write NULL for no value"),
        ("LOWER(", "it is no SQL expression"),
        ("a, b", "it is no SQL expression"),
        ("CAST(a AS DATE)", "there is no CAST to a date; write DATE(column)"),
        ("a::date", "there is no CAST to a date"),
        ("CAST(a AS BOOLEAN)", "there is no CAST to a boolean; compare instead"),
        ("CAST(a AS BYTEA)", "there is no CAST to BYTEA"),
        ("(a = 'x') IS TRUE", "IS TRUE is not allowed: polars answers NULL where SQL says FALSE"),
        ("(a = 'x') IS NOT FALSE", "IS FALSE is not allowed"),
        ("a = 5", "its types do not fit"),
        ("a AND b", "its types do not fit"),
        ("DATE(a) < '2024-01-01'", "compare a date with DATE('2024-01-31')"),
        ("REGEXP_LIKE(a, '(')", "its pattern cannot be read: unclosed group"),
        ("INTERVAL '1 day'", "which is no single value"),
        ("a || '" + "x" * 20_000 + "'", "characters long; at most 20000 are read"),
        ("a\0", "NUL"),
        (" || ".join(["a"] * 1_500), "it is nested too deeply"),
        ("employee-id", "there is no column 'employee'"),
    ],
)
def test_what_is_refused(expression: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        compile_expression(expression, COLUMNS, where=WHERE)
    assert str(caught.value).startswith(f"{WHERE}: ")
    assert complaint in str(caught.value)
    assert len(str(caught.value)) < 1_500


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("employe_id", "there is no column 'employe_id' (did you mean 'employee_id'?)"),
        ("Job_Title", "(there is 'job_title', which differs only in case or space around it)"),
        ('" job_title"', "(there is 'job_title', which differs only in case or space around it)"),
        ("work_email", "(did you mean 'Work Email'?)"),
        ("zzz", "The columns are: Work Email, a, b, employee_id, job_title, org_admin, salary, start_date."),
    ],
)
def test_an_unknown_column_is_named_with_the_nearest(expression: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        compile_expression(f"UPPER({expression})", COLUMNS, where=WHERE)
    assert hint in str(caught.value)


def test_very_many_columns_are_not_all_listed() -> None:
    with pytest.raises(ConfigurationError, match="and 960 more"):
        compile_expression("x", [f"column_{number:03d}" for number in range(1000)], where=WHERE)


def test_an_expression_knows_its_columns() -> None:
    expression = compile_expression('LOWER("Work Email") || a', None, where=WHERE)
    assert (expression.columns, expression.constant) == (frozenset({"Work Email", "a"}), False)
    assert compile_expression("'Employee'", None, where=WHERE).constant
    assert hash(expression)


@pytest.mark.parametrize("count", [1, 300])
def test_a_long_case_is_no_harm(count: int) -> None:
    branches = " ".join(f"WHEN a = '{number}' THEN 'N{number}'" for number in range(count))
    result = text(f"CASE {branches} ELSE a END", frame(a=["0", "x"]))
    assert result.values.to_list() == ["N0", "x"]


@pytest.mark.parametrize("predicate", ["TRUE", "NULL", "a = 'x'", "org_admin", "'true'", "a IS NULL"])
def test_predicates(predicate: str) -> None:
    compile_expression(predicate, COLUMNS, where=WHERE, predicate=True)


@pytest.mark.parametrize("expression", ["LENGTH(a)", "'yes'", "LOWER(a)", "1", "DATE(a)"])
def test_what_is_no_predicate(expression: str) -> None:
    with pytest.raises(ConfigurationError, match="it is neither true nor false"):
        compile_expression(expression, COLUMNS, where=WHERE, predicate=True)


def test_a_column_of_true_and_false_is_a_predicate() -> None:
    rows = frame(org_admin=["true", " FALSE ", None, "", "yes"])
    result = evaluate_predicate(compile_expression("org_admin", rows.columns, where=WHERE, predicate=True), rows)
    assert result.values.to_list() == [True, False, None, None, None]
    assert result.reasons == {4: "the answer is neither true nor false"}


def test_unknown_stays_unknown() -> None:
    rows = frame(a=["x", "y", None])
    result = evaluate_predicate(compile_expression("a = 'x'", rows.columns, where=WHERE), rows)
    assert result.values.to_list() == [True, False, None]
    assert evaluate_predicate(compile_expression("NULL", None, where=WHERE), rows).values.to_list() == [None] * 3
    assert evaluate_predicate(compile_expression("TRUE", None, where=WHERE), rows).values.to_list() == [True] * 3


def test_a_number_is_no_answer() -> None:
    rows = frame(a=["x"])
    with pytest.raises(ConfigurationError, match="neither true nor false"):
        evaluate_predicate(compile_expression("LENGTH(a)", rows.columns, where=WHERE), rows)


def test_a_missing_column_of_the_frame_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"habitate.*there is no column 'b'"):
        evaluate(compile_expression("b", None, where=WHERE), frame(a=["x"]))


def test_only_the_rows_that_fail_fail_and_no_value_is_told() -> None:
    rows = frame(a=["2024-01-31", "secret", None, "2024-02-30", "2023-12-01"])
    result = text("DATE(a)", rows)
    assert result.values.to_list() == ["2024-01-31", None, None, None, "2023-12-01"]
    assert result.failed.to_list() == [False, True, False, True, False]
    assert result.reasons == {1: "a holds no date (yyyy-mm-dd)", 3: "a holds no date (yyyy-mm-dd)"}


def test_numbers_that_are_none_fail_their_rows() -> None:
    result = text("CAST(a AS INTEGER)", frame(a=["1", "one", "3"]))
    assert result.values.to_list() == ["1", None, "3"]
    assert result.reasons == {1: "a holds no number"}


def test_numbers_that_are_not_finite_fail_their_rows() -> None:
    result = text("CAST(a AS DOUBLE)", frame(a=["1.0", "inf", "NaN", "1e20", "0.00000001"]))
    assert result.values.to_list() == ["1", None, None, "100000000000000000000", "0.00000001"]
    assert sorted(result.reasons) == [1, 2]


def test_a_dates_form_is_not_guessed_from_other_rows() -> None:
    rows = frame(a=["2024-01-31", "31/01/2024", "31-01-2024"])
    expression = compile_expression("DATE(a)", rows.columns, where=WHERE)
    together = evaluate(expression, rows).failed.to_list()
    alone = [evaluate(expression, rows.slice(row, 1)).failed.item() for row in range(3)]
    assert together == alone == [False, True, True]
    named = text("DATE(a, '%d/%m/%Y')", rows)
    assert named.values.to_list() == [None, "2024-01-31", None]


@pytest.mark.parametrize(
    ("cell", "format_", "day"),
    [
        ("05/01/24", "%d/%m/%Y", None),
        ("05/01/024", "%d/%m/%Y", None),
        ("05/01/2024", "%d/%m/%Y", "2024-01-05"),
        ("5/1/2024", "%d/%m/%Y", "2024-01-05"),
        ("05/01/24", "%d/%m/%y", "2024-01-05"),
        ("05/01/2024", "%d/%m/%y", None),
        ("05-JAN-24", "%d-%b-%y", "2024-01-05"),
        ("12 o'clock 5.1.2024", "12 o''clock %d.%m.%Y", "2024-01-05"),
        ("2024.01.05 (x)", "%Y.%m.%d (x)", "2024-01-05"),
    ],
)
def test_a_year_has_the_digits_that_the_format_asks_for(cell: str, format_: str, day: str | None) -> None:
    result = text(f"DATE(a, '{format_}')", frame(a=[cell, None]))
    assert (result.values.to_list(), result.failed.to_list()) == ([day, None], [day is None, False])
    if day is None:
        assert result.reasons == {0: "a holds no date (as the expression wants it)"}


def test_dates_of_computed_text_with_a_format() -> None:
    expression = "COALESCE(DATE(REPLACE(REPLACE(a, '(', ''), ')', ''), '%d/%m/%Y'), DATE(b))"
    rows = frame(a=["(05/01/2024)", None, "05/01/24"], b=[None, "2024-03-01T00:00:00Z", None])
    assert text(expression, rows).values.to_list() == ["2024-01-05", "2024-03-01", None]


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Łukasz Święty", "Lukasz Swiety"),
        ("Bjørn Æbelø", "Bjorn Aebelo"),
        ("Weiß Übel", "Weiss Ubel"),
        ("Đorđe Ćosić", "Dorde Cosic"),
        ("Nguyễn Thị", "Nguyen Thi"),
        ("N\u0303u\u0301n\u0303ez", "Nunez"),
        ("Иван", "Ivan"),
        ("Νίκος", "Nikos"),
        ("Ann", "Ann"),
    ],
)
def test_text_of_any_script_in_ascii(name: str, plain: str) -> None:
    assert text("ASCII(a)", frame(a=[name, None])).values.to_list() == [plain, None]
    assert text(f"'{name}' || ASCII('{name}')", frame(a=["x"])).values.to_list()[0].endswith(plain)


def test_what_is_transliterated_is_any_expression_and_fails_by_row() -> None:
    rows = frame(first=["Zoë", "Ann", "Łucja"], day=["2024-01-05", "x", None])
    result = text("ASCII(LOWER(first) || COALESCE(ASCII(STRFTIME(DATE(day), '%Y')), 'ø'))", rows)
    assert result.values.to_list() == ["zoe2024", None, "lucjao"]
    assert result.reasons == {1: "day holds no date (yyyy-mm-dd)"}
    many = evaluate_texts([compile_expression("ASCII(first)", rows.columns, where=WHERE) for _ in range(2)], rows)
    assert [one.values.to_list() for one in many] == [["Zoe", "Ann", "Lucja"]] * 2


def test_a_name_with_dots_needs_no_quotes() -> None:
    rows = pl.DataFrame({"manager.work_email": ["A@example.com"], "manager.start.day": ["2024-01-05T23:00:00Z"]})
    expression = compile_expression(
        "LOWER(manager.work_email) || ' ' || DATE(manager.start.day)",
        rows.columns,
        where=WHERE,
        zone=ZoneInfo("Asia/Tokyo"),
    )
    assert expression.columns == set(rows.columns)
    assert evaluate_text(expression, rows).values.to_list() == ["a@example.com 2024-01-06"]


def test_a_whole_column_that_fails_is_not_tried_to_the_end() -> None:
    result = text("DATE(a)", frame(a=["x"] * 3_000))
    assert result.failed.all()
    assert len(result.reasons) == 3_000


def test_text_is_canonical() -> None:
    result = text("a", frame(a=["  e\u0301 ", "\u00a0", "", None, "x"]))
    assert result.values.to_list() == ["é", None, None, None, "x"]


@pytest.mark.parametrize("expression", ["LOWER(a)", "'x'", "NULL", "DATE(a)"])
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_values_are_as_long_as_the_frame(expression: str, rows: int) -> None:
    found = frame(a=["2024-01-31"] * rows)
    for function in (evaluate, evaluate_text):
        result = function(compile_expression(expression, None, where=WHERE), found)
        assert (len(result.values), len(result.failed)) == (rows, rows)


CELLS = st.none() | st.sampled_from(["", " x ", "2024-02-29", "2024-02-30", "12", "-1.5", "É", "a@b.c", "true"])


@given(values=st.lists(CELLS, min_size=1, max_size=20), use=st.sampled_from(sorted(FUNCTIONS)))
def test_every_function_is_row_by_row(values: list[str | None], use: str) -> None:
    rows = frame(a=values, b=values[::-1], n=values, e=[None] * len(values))
    expression = compile_expression(USES[use][0], rows.columns, where=WHERE)
    whole = evaluate_text(expression, rows)
    alone = [evaluate_text(expression, rows.slice(row, 1)) for row in range(rows.height)]
    assert whole.values.to_list() == [one.values.item() for one in alone]
    assert whole.failed.to_list() == [one.failed.item() for one in alone]


@given(values=st.lists(CELLS, min_size=0, max_size=12), uses=st.lists(st.sampled_from(sorted(FUNCTIONS)), max_size=6))
def test_many_at_once_give_what_each_gives_by_itself(values: list[str | None], uses: list[str]) -> None:
    rows = frame(a=values, b=values[::-1], n=values, e=[None] * len(values))
    texts = [*(USES[use][0] for use in uses), "a", "TRUE", "1.50", "'constant'"]
    expressions = [compile_expression(text, rows.columns, where=WHERE) for text in texts]
    together, alone = evaluate_texts(expressions, rows), [evaluate_text(one, rows) for one in expressions]
    for one, other in zip(together, alone, strict=True):
        assert (one.values.to_list(), one.failed.to_list()) == (other.values.to_list(), other.failed.to_list())
        assert one.values.dtype == pl.String
        assert one.reasons == other.reasons


def test_of_many_a_missing_column_is_named_too() -> None:
    expressions = [compile_expression(text, None, where=WHERE) for text in ("a", "nowhere")]
    with pytest.raises(ConfigurationError, match="there is no column 'nowhere'"):
        evaluate_texts(expressions, frame(a=["x"]))


@given(expression=st.text(alphabet="ab'\"`();,.|=<>*- \n01ASNULTRE%[]{}$é", max_size=40))
def test_any_text_is_an_expression_or_an_error_of_ours(expression: str) -> None:
    try:
        compiled = compile_expression(expression, ("a", "b"), where=WHERE)
    except ConfigurationError:
        return
    assert len(evaluate_text(compiled, frame(a=["x", "2024-01-01"], b=[None, "1"])).values) == 2
