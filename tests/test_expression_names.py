"""Columns whose names SQL takes for something else, and what an error says of them."""

from __future__ import annotations

import pytest

from provisioner.errors import ConfigurationError
from provisioner.expressions import compile_expression

KNOWN = ("E-Mail", "Work Email", "Emp.No", "Emp#", "1st name", "Straße-Nr", "a", "b")


@pytest.mark.parametrize("columns", [None, KNOWN], ids=["any", "known"])
@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("LOWER(E-Mail)", 'LOWER("E-Mail")'),
        ("E-Mail || ' - x'", "\"E-Mail\" || ' - x'"),
        ("COALESCE(E-Mail, a)", 'COALESCE("E-Mail", a)'),
        ("LOWER(Work Email)", 'LOWER("Work Email")'),
        ("Work Email = 'a-b'", "\"Work Email\" = 'a-b'"),
        ("LOWER(Emp#)", 'LOWER("Emp#")'),
        ("Straße-Nr", '"Straße-Nr"'),
    ],
)
def test_a_name_that_needs_quotes(text: str, mended: str, columns: tuple[str, ...] | None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        compile_expression(text, columns, where="targets.x.attributes.email")
    assert f"in double quotes: {mended}" in str(caught.value)
    for noise in ("dtype", "TRY_CAST", "unable to parse"):
        assert noise not in str(caught.value)
    compile_expression(mended, columns, where="x")


@pytest.mark.parametrize(
    "text", ["Emp.No = 1", "a - b", "a AND b = 'x'", "CASE WHEN a THEN b END", "'E-Mail' - a", '"E-Mail" - a']
)
def test_what_is_no_name_gets_no_such_advice(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        compile_expression(text, KNOWN, where="x")
    assert "double quotes" not in str(caught.value)
