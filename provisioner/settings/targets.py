"""The settings of one target: what all kinds share, and what each of the four adds."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    field_validator,
    model_validator,
)

from provisioner.settings.place import is_loopback
from provisioner.settings.values import Duration, Percent, Rate, Rates

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

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return value if isinstance(value, (dict, AttributeRule)) else {"from": value}


class GuardLimit(Section):
    """How many operations of one kind go out without approval."""

    percent: Percent = Field(description="Share of the linked accounts that are not in leaver state, in percent.")
    absolute: int | None = Field(None, ge=0, description="Never more than this many; none: no cap.")


class GuardSettings(Section):
    """Rules that hold operations until someone approves."""

    leavers: GuardLimit = Field(GuardLimit(percent=10.0, absolute=100), description="Covers `leave`.")
    updates: GuardLimit = Field(GuardLimit(percent=50.0, absolute=None), description="Covers `update` and `role`.")
    creates: GuardLimit | None = Field(None, description="Covers `create`; none: no such guard.")
    rejoins: GuardLimit | None = Field(None, description="Covers `rejoin`; none: no such guard.")
    missing: GuardLimit = Field(
        GuardLimit(percent=5.0, absolute=50),
        description="Linked accounts that a complete listing no longer shows, or that lost a value in it; "
        "over it the listing is not believed.",
    )
    window: Duration = Field(
        timedelta(hours=24), description="What was sent without approval this long ago counts too; 0s: each run alone."
    )
    approval: Duration = Field(timedelta(hours=72), description="How long an approval holds good.")


class RetrySettings(Section):
    """How long a temporary failure is tried again."""

    for_: Duration = Field(timedelta(hours=24), alias="for", description="Total time before it counts as failed.")


class TargetSettings(Section):
    """What the targets of all kinds share."""

    default_base_url: ClassVar[str | None] = None
    credentials: ClassVar[tuple[str, ...]] = ()

    kind: str = Field(description="The vendor product; defaults to the target's name.")
    enabled: bool = Field(True, description="false: runs skip this target, nothing is read or written.")
    base_url: str = Field("", description="Scheme and host of the vendor's API; https, loopback aside.")
    allow_http: bool = Field(False, description="Accept plain http away from loopback (tests, trusted proxies).")
    rate_limit: Rates = Field((Rate(120, 60.0),), description="Requests per window; a list holds several windows.")
    rate_group: str | None = Field(
        None, description="Targets with the same group share one budget; none: the kind's own rule."
    )
    batch_size: int = Field(100, ge=1, le=10_000, description="People in one batch request.")
    page_size: int = Field(100, ge=1, le=10_000, description="Accounts asked for in one page of a listing.")
    retry: RetrySettings = Field(default_factory=RetrySettings, description="Patience with temporary failures.")
    drift: Literal["correct", "report"] = Field(
        "correct", description="What to do about an attribute changed behind our back."
    )
    webhook_secret: SecretStr | None = Field(None, description="Last part of this target's webhook address.")
    webhook_sources: tuple[IPvAnyNetwork, ...] = Field(
        (), description="Addresses or networks from which its webhooks are taken; none: from everywhere."
    )
    scope: Sql = Field("TRUE", description="SQL predicate: who should have an account here.")
    match: tuple[str, ...] = Field((), description="Attributes by which an existing account is recognised, in order.")
    protect: Sql = Field("FALSE", description="SQL predicate over observed accounts: never deactivated or demoted.")
    attributes: dict[str, AttributeRule] = Field(default_factory=dict, description="Attribute: SQL expression.")
    leaver: dict[str, AttributeRule] = Field(
        default_factory=dict, description="What a leaver's account should hold, laid over `attributes`."
    )
    guards: GuardSettings | None = Field(None, description="This target's own guards; unset keys follow the top.")

    @field_validator("base_url")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @model_validator(mode="after")
    def _complete(self) -> TargetSettings:
        if not self.enabled:
            return self
        if not self.base_url:
            raise ValueError("base_url is missing")
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"base_url {self.base_url!r} is no http(s) address")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("base_url must hold neither credentials nor a query")
        if parts.scheme == "http" and not self.allow_http and not is_loopback(parts.hostname):
            raise ValueError(f"base_url {self.base_url!r} must be https (or set allow_http: true)")
        for name in self.credentials:
            value = getattr(self, name)
            if value is None or not (value.get_secret_value() if isinstance(value, SecretStr) else value):
                raise ValueError(f"{name} is missing")
        if not self.attributes:
            raise ValueError("attributes are missing: say what an account should hold")
        if not self.match:
            raise ValueError("match is missing: name the attributes that recognise an existing account")
        for name in self.match:
            if name not in self.attributes:
                raise ValueError(f"match names {name!r}, which is not among the attributes")
        return self


class EnrolmentRule(Section):
    """Who is enrolled in what, once ever per person and code."""

    code: str = Field(min_length=1, description="The whole enrolment code, such as TH-4-77-NEW.")
    when: Sql = Field("TRUE", description="SQL predicate over the roster's columns.")
    due_in_days: int | None = Field(None, ge=0, description="Days from the planning day to the due date.")


class TribalHabitsSettings(TargetSettings):
    """Tribal Habits, learning platform, Public API V1."""

    credentials: ClassVar[tuple[str, ...]] = ("api_key",)

    api_key: SecretStr | None = Field(None, description="The organisation's API key.")
    rate_limit: Rates = Field((Rate(300, 60.0),), description="Published: 300 requests per minute per address.")
    invitations: Literal["new", "all", "none"] = Field("none", description="Who is sent an invitation email.")
    enrolments: tuple[EnrolmentRule, ...] = Field((), description="Enrolments by rule.")
    external_knowledge: tuple[dict[str, Sql], ...] = Field(
        (), description="Certificates and licences: field: SQL expression, with an optional `when`."
    )


class HabitateSettings(TargetSettings):
    """habitate, community."""

    credentials: ClassVar[tuple[str, ...]] = ("username", "api_key")

    username: str = Field("provisioner", description="Name of the calling system, for habitate's own audit.")
    api_key: SecretStr | None = Field(None, description="The API key, sent as the Basic password.")
    batch_size: int = Field(50, ge=1, le=10_000, description="Members in one change of a board.")
    page_size: int = Field(50, ge=1, le=50, description="Published maximum: 50.")


class TraitlyEvents(Section):
    """The names of the events that we send; none: not sent."""

    created: str | None = Field(None, description="When we created the customer.")
    left: str | None = Field(None, description="When the person left.")
    role_changed: str | None = Field(None, description="When custom_attributes.role changed.")


class TraitlySettings(TargetSettings):
    """Traitly, customer analytics."""

    default_base_url: ClassVar[str | None] = "https://api.traitly.com"
    credentials: ClassVar[tuple[str, ...]] = ("token",)

    token: SecretStr | None = Field(None, description="The account's API token.")
    events: TraitlyEvents = Field(default_factory=TraitlyEvents, description="Events by fact.")


class MtribesPaths(Section):
    """Paths of the assumed mtribes contract; {api_version}, {space_id} and {tribe_id} are filled in."""

    users: str = "/{api_version}/spaces/{space_id}/users"
    ingest: str = "/{api_version}/spaces/{space_id}/users"
    tribes: str = "/{api_version}/spaces/{space_id}/tribes"
    tribe_users: str = "/{api_version}/spaces/{space_id}/tribes/{tribe_id}/users"
    orgs: str = "/{api_version}/orgs"
    spaces: str = "/{api_version}/orgs/{org_id}/spaces"


class MtribesSettings(TargetSettings):
    """mtribes, personalisation, Platform API v1.0 (partly assumed, so everything about it can be set)."""

    default_base_url: ClassVar[str | None] = "https://api.mtribes.com"
    credentials: ClassVar[tuple[str, ...]] = ("access_token", "space_id")

    access_token: SecretStr | None = Field(None, description="Personal access token.")
    space_id: str | None = Field(None, description="UUID of the Space; `check --connect` lists them.")
    environment: str | None = Field(None, description="Environment key for the v2 form of the paths.")
    api_version: str = Field("v1.0", description="Version segment of the paths.")
    auth_scheme: str = Field("Bearer", description="Word before the token in the Authorization header; may be empty.")
    paths: MtribesPaths = Field(default_factory=MtribesPaths, description="Paths, should the assumed ones be wrong.")
    envelope: str | None = Field("users", description="Key of the list in an ingest; null: one bare object, batch 1.")
    page_param: str = Field("page", description="Query parameter of the page number.")
    page_size_param: str = Field("page_size", description="Query parameter of the page size.")

    @model_validator(mode="before")
    @classmethod
    def _bare_objects_go_alone(cls, value: Any) -> Any:
        if isinstance(value, dict) and "envelope" in value and value["envelope"] is None:
            return {**value, "batch_size": 1}
        return value
