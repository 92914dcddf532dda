"""How one attribute of an account comes about."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Authority = Literal["roster", "create_only", "target"]


def _sql_text(value: Any) -> Any:
    """YAML reads an unquoted TRUE, 7 or null as such; as SQL they mean the same."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (int, float)):
        return str(value)
    return value


Sql = Annotated[str, BeforeValidator(_sql_text)]


class Section(BaseModel):
    """A frozen part of the settings in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, coerce_numbers_to_str=True)


class AttributeRule(Section):
    """How one attribute of an account comes about."""

    from_: Sql = Field(alias="from", description="SQL expression over the roster's columns.")
    authority: Authority = Field(
        "roster", description="roster: enforced; create_only: set once, then the target's; target: only read back."
    )
    empty: Literal["keep", "clear"] = Field(
        "keep", description="What NULL means: keep leaves the attribute alone, clear empties it."
    )
    set: Literal["replace", "merge"] = Field(
        "replace",
        description="Of a set that others fill too: replace makes it what is mapped; merge adds, and takes away only "
        "what we wrote or the mapping yields for somebody.",
    )
    type: Literal["text", "date", "number", "boolean", "set"] | None = Field(
        None,
        description="Of a field that the organisation made, such as `X-…` or `custom_attributes.…`; none: compared as "
        "what it looks like, or kept as it is shown.",
    )

    first_free: tuple[Sql, ...] = Field(
        (),
        description="Instead of `from`: SQL expressions for a value that nobody else has, such as a user name. The "
        "first free one is chosen at create and kept for ever; if none is free, the last one with 2, 3, … after it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if not isinstance(value, (dict, AttributeRule)):
            return {"from": value}
        if isinstance(value, AttributeRule) or "first_free" not in value:
            return value
        texts = value["first_free"]
        several = [*texts] if isinstance(texts, (list, tuple)) else [texts]
        if several:
            return {"from": several[0], "authority": "create_only", **value, "first_free": several}
        if "from" not in value:
            raise ValueError("first_free is empty: give one expression at least")
        return value

    @model_validator(mode="after")
    def _chosen_once(self) -> AttributeRule:
        if not self.first_free:
            return self
        if self.from_ != self.first_free[0]:
            raise ValueError("give either `from` or `first_free`")
        if self.authority != "create_only":
            raise ValueError("first_free is chosen at create and kept, so its authority is always create_only")
        if self.empty != "keep" or self.set != "replace":
            raise ValueError("first_free takes neither `empty` nor `set`")
        return self

    @property
    def text(self) -> str:
        """What makes the attribute, for people: its expression, or the several of which the first free one is taken."""
        return f"first free of: {'; '.join(self.first_free)}" if self.first_free else self.from_
