"""The settings of the roster: where it comes from, how it is read, and what it must pass before it is believed."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from provisioner.settings.attribute_rule import Section, Sql
from provisioner.settings.place import is_pushed
from provisioner.settings.pushed_people import RosterWebhookSettings, ScimSettings
from provisioner.settings.values import DateForms, Duration, Percent

#: Which line is the header.
HeaderRow = Literal["auto"] | Annotated[int, Field(ge=1)]

#: Names of computed columns and look-ups; the file's own may be any.
_OWN_NAME: Final = re.compile(r"[^\W\d_]\w*")
#: Signs of an expression, which names of columns hardly have.
_EXPRESSION: Final = re.compile(r"\|\||['\"]|\w\(")


class AbsenceSettings(Section):
    """When a vanished row becomes a leaver."""

    snapshots: int = Field(2, ge=1, description="Clean snapshots, rewritten, without the person.")
    grace: Duration = Field(timedelta(hours=24), description="And this long since the first of them.")


class GateSettings(Section):
    """What a roster must pass before it is believed; all in percent of people but `max_age`."""

    max_shrink: Percent = Field(10.0, description="People lost since the last clean snapshot.")
    max_rejected: Percent = Field(2.0, description="Bad rows; over it the roster is rejected.")
    max_leaving: Percent = Field(20.0, description="People newly leaving.")
    max_blank_jump: Percent = Field(20.0, description="People who lost their value in a mapped column.")
    max_age: Duration = Field(timedelta(days=7), description="Age of the file.")


_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]+")
#: Headers that belong to the connection and not to the settings.
_OUR_HEADERS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})


class PageSettings(Section):
    """How a roster that comes in pages is read: by what each says of the next, or by numbers."""

    next: str | None = Field(
        None, description="Where a page has the address or the cursor of the next; link: in its header Link."
    )
    cursor: str = Field("cursor", min_length=1, description="Parameter of the address that takes a cursor.")
    page: str | None = Field(None, min_length=1, description="Parameter that takes the number of the page.")
    size: str | None = Field(None, min_length=1, description="Parameter that takes how many records a page has.")
    per: int = Field(100, ge=1, description="Records a page, where `size` is set.")
    first: int = Field(1, ge=0, description="Number of the first page.")

    @model_validator(mode="after")
    def _one_way(self) -> PageSettings:
        if (self.next is None) == (self.page is None):
            raise ValueError("name either `next` or `page`")
        return self


class LookupSettings(Section):
    """Another table in which a value of each row is looked up: this roster, a file, or a map of values."""

    by: str = Field(description="Column or SQL expression of what is looked up.")
    in_: str | None = Field(
        None, alias="in", description="The other file, from wherever a roster may come; none: this roster, by its key."
    )
    key: str | None = Field(None, description="The other file's column in which it is found.")
    values: dict[str, str] | None = Field(None, description="A map of values, in place of a file: `<name>.value`.")
    default: str | None = Field(None, description="Value of what the map does not have; none: NULL.")

    @model_validator(mode="after")
    def _one_table(self) -> LookupSettings:
        if self.values is not None and (self.in_ is not None or self.key is not None):
            raise ValueError("values is a table by itself: leave out in and key")
        if (self.in_ is None) != (self.key is None):
            raise ValueError("in and key belong together: the file, and its column in which the value is found")
        if self.default is not None and self.values is None:
            raise ValueError("default belongs to values; a file's or person's missing value is NULL")
        return self


class RosterSettings(Section):
    """Where the truth about people comes from, and how it is read."""

    url: str = Field(
        "config/roster.example.csv",
        description="Path, folder or glob, https://, sftp:// or s3://; `scim:`: people are pushed to `/scim/v2`.",
    )
    key: str = Field(
        "employee_id",
        description="Column or SQL expression of the unique and stable key; never an email. Where people are pushed: "
        "externalId.",
    )
    previous_key: str | None = Field(None, description="Column or SQL expression of the person's earlier key.")
    same_person: tuple[str, ...] = Field(
        (), description="Columns that tell a person under a new key; none: the emails that accounts are matched by."
    )
    employed: Sql = Field("TRUE", description="SQL predicate over the columns: TRUE is employed, FALSE a leaver.")
    exclude: Sql = Field("FALSE", description="SQL predicate: neither joiner nor leaver.")
    starts: str | None = Field(None, description="Column or SQL expression of the first day.")
    ends: str | None = Field(None, description="Column or SQL expression of the last day; none from the year 2200 on.")
    dates: DateForms = Field(
        ("iso",),
        description="How dates are written, one or several: iso, day_first, month_first, or a format such as %d-%b-%y. "
        "What two of them read differently is no date; a moment with a zone is its day in `timezone`.",
    )
    trim: bool = Field(True, description="White space and signs without width around every cell go.")
    nulls: tuple[str, ...] = Field(
        ("NULL", "N/A", "#N/A"),
        description="Cells that mean empty, besides the empty one; in any case of letters. Unless set, #N/A is an "
        "error where another cell holds an error of a spreadsheet.",
    )
    skip: Sql = Field("FALSE", description="SQL predicate over the file's columns: rows that are no people.")
    rename: dict[str, str] = Field(
        default_factory=dict, description='The file\'s column: its name below; `"#3"` is the third one from the left.'
    )
    columns: dict[str, Sql] = Field(default_factory=dict, description="Computed column: SQL expression over the row.")
    lookups: dict[str, LookupSettings] = Field(
        default_factory=dict, description="Look-up: another table, whose columns are `<name>.<column>`."
    )
    pick: str | None = Field(
        None, description="SQL ORDER BY list: of several rows of one person the first; none: they are a conflict."
    )
    label: Sql | None = Field(
        None, description="SQL expression by which people are shown to people; never in logs. None: the key."
    )
    encoding: str = Field("auto", description="auto, or the name of an encoding such as cp1252.")
    header_row: HeaderRow = Field(
        "auto", description="Line of the header; auto: the first that names the key, banner lines above it are skipped."
    )
    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="Sign between cells of a text; none: it is found out."
    )
    records: str | None = Field(
        None, description="JSON: where the list is, such as data.employees; none: it is the whole."
    )
    sheet: str | None = Field(None, description="Sheet of a workbook; none: the first visible one.")
    pages: PageSettings | None = Field(None, description="JSON over https that comes in pages; none: in one piece.")
    headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="Headers of the request over https; sent to the host of `url` alone."
    )
    scim: ScimSettings = Field(default_factory=ScimSettings, description="Of people that are pushed one by one.")
    webhook: RosterWebhookSettings | None = Field(
        None, description="Signed webhooks at `/webhooks/roster` that name changed people; none: there are none."
    )
    create_days_before_start: int = Field(0, ge=0, description="Accounts are made this many days ahead.")
    absence: AbsenceSettings = Field(default_factory=AbsenceSettings, description="When vanishing means leaving.")
    gate: GateSettings = Field(default_factory=GateSettings, description="What makes a roster believed.")

    @field_validator("headers")
    @classmethod
    def _proper_headers(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, secret in value.items():
            if not _HEADER_NAME.fullmatch(name) or name.lower() in _OUR_HEADERS:
                raise ValueError(f"{name!r} is no header that may be set")
            if not _HEADER_VALUE.fullmatch(secret.get_secret_value()):
                raise ValueError(f"the value of {name!r} is empty, or holds signs that no header may have")
        return value

    @field_validator("delimiter", mode="before")
    @classmethod
    def _spelt(cls, value: Any) -> Any:
        return {"tab": "\t", "\\t": "\t", "": None}.get(value, value) if isinstance(value, str) else value

    @field_validator("exclude", "skip", mode="before")
    @classmethod
    def _nobody(cls, value: Any) -> Any:
        return "FALSE" if value is None else value

    @field_validator("label", "pick", mode="before")
    @classmethod
    def _blank_is_none(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("nulls", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return () if value is None else [value] if isinstance(value, str) else value

    @field_validator("rename", "columns", "lookups", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value

    @model_validator(mode="before")
    @classmethod
    def _keys_of_pushed_people(cls, value: Any) -> Any:
        """The columns of pushed people are known, so what tells them apart has a default of its own."""
        if isinstance(value, dict) and is_pushed(str(value.get("url", ""))):
            return {"key": "externalId", "previous_key": "previousKey", **value}
        return value

    @model_validator(mode="after")
    def _of_one_sort(self) -> RosterSettings:
        if not self.pushed_people:
            return self
        if self.scim.token is None:
            raise ValueError("url is scim:, so scim.token is needed: whoever pushes people authenticates by it")
        file_only = [name for name in ("records", "pages", "headers", "sheet", "delimiter") if getattr(self, name)]
        if file_only:
            raise ValueError(f"url is scim:, so there is no file to which {file_only[0]} could apply")
        # By these two nobody would be a leaver any more
        if "active" in self.rename or {"true", "false"} & {word.casefold() for word in self.nulls}:
            raise ValueError("url is scim:, so rename and nulls have to leave the column active as it is")
        return self

    @model_validator(mode="after")
    def _own_names(self) -> RosterSettings:
        for name in (*self.columns, *self.lookups):
            if not _OWN_NAME.fullmatch(name):
                raise ValueError(f"the name {name!r} must begin with a letter and hold letters, digits and _ only")
        both = sorted({*self.columns} & {*self.lookups})
        if both:
            raise ValueError(f"{both[0]!r} is the name of a computed column and of a look-up; give each its own")
        return self

    @property
    def pushed_people(self) -> bool:
        """Whether people are pushed one by one, in place of a file."""
        return is_pushed(self.url)

    @property
    def key_name(self) -> str:
        """The key for people and as a heading: its column, or ``key`` where it is an expression."""
        return "key" if _EXPRESSION.search(self.key) else self.key

    @property
    def file_key(self) -> str:
        """The key's column as the file's header has it."""
        return next((old for old, new in self.rename.items() if new == self.key), self.key)
