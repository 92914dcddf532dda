"""The settings of one target that all kinds share; a kind's own are a subclass in its package."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    Field,
    IPvAnyNetwork,
    PlainSerializer,
    SecretStr,
    WrapValidator,
    field_validator,
    model_validator,
)

from provisioner.settings.attribute_rule import AttributeRule, Section, Sql
from provisioner.settings.leaver import LeaverRules, read_leaver
from provisioner.settings.place import is_loopback
from provisioner.settings.values import Duration, Percent, Rate, Rates


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
    removals: GuardLimit | None = Field(
        GuardLimit(percent=5.0, absolute=None),
        description="Members of sets that updates would take away and that we never wrote, by the members observed; "
        "none: no such guard.",
    )
    overwrites: GuardLimit | None = Field(
        None,
        description="At first contact, people whose account was there before us and holds values that an update would "
        "overwrite, by the accounts found; none: all are held where the kind's contract is assumed, elsewhere nobody.",
    )
    settle: Duration = Field(
        timedelta(minutes=15),
        description="For so long after an account was made or linked it may be missing from a listing; it is not made "
        "again meanwhile.",
    )
    window: Duration = Field(
        timedelta(hours=24),
        description="What was sent without approval this long ago, or waits for it, counts too; 0s: each run alone.",
    )
    approval: Duration = Field(timedelta(hours=72), description="How long an approval holds good.")
    rejection: Duration = Field(
        timedelta(days=30), description="How long a rejection holds good, should the person's row not change before."
    )


class RetrySettings(Section):
    """How long a temporary failure is tried again."""

    for_: Duration = Field(timedelta(hours=24), alias="for", description="Total time before it counts as failed.")


class TargetSettings(Section):
    """What the targets of all kinds share."""

    default_base_url: ClassVar[str | None] = None
    credentials: ClassVar[tuple[str, ...]] = ()
    #: Settings that name which account of the vendor's is meant, where the address alone does not.
    same_account: ClassVar[tuple[str, ...]] = ()
    #: `guards.overwrites` of this kind where the settings do not say it.
    overwrites: ClassVar[GuardLimit | None] = None

    kind: str = Field(description="The vendor product; defaults to the target's name.")
    enabled: bool = Field(True, description="false: runs skip this target, nothing is read or written.")
    was: tuple[str, ...] = Field(
        (), description="The target's earlier names, and earlier addresses of its product; its ledger goes on."
    )
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
    leaver: Annotated[
        dict[str, AttributeRule], WrapValidator(read_leaver), PlainSerializer(LeaverRules.to_settings)
    ] = Field(
        default_factory=lambda: LeaverRules([]),
        description="What a leaver's account should hold, laid over `attributes`; or a list of steps, each from the "
        "second one on with `after`, in whole days since the day of leaving: see Leavers in steps.",
    )
    guards: GuardSettings | None = Field(None, description="This target's own guards; unset keys follow the top.")

    @field_validator("was", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else () if value is None else value

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
