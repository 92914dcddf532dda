"""The settings as a whole, section by section."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, IPvAnyNetwork, SecretStr, SerializeAsAny, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from provisioner.settings.allowed import may_be_prefix
from provisioner.settings.attribute_rule import Section, Sql
from provisioner.settings.cron import Cron
from provisioner.settings.kinds import known_kinds, settings_model
from provisioner.settings.nearest import nearest
from provisioner.settings.roster import RosterSettings
from provisioner.settings.sign_in import OidcSettings, web_address
from provisioner.settings.targets import GuardSettings, TargetSettings
from provisioner.settings.values import Duration

_TARGET_NAME = re.compile(r"[a-z][a-z0-9_]*")
#: Settings of the roster that say where it is, whether it is believed and how it is shown, not what a row says.
_NOT_READING: Final[dict[str, Any]] = {
    **dict.fromkeys(("url", "headers", "webhook", "gate", "absence", "label"), True),
    "scim": {"token": True},
}


class ScheduleSettings(Section):
    """When runs begin by themselves; null switches one off."""

    sync: Cron | None = Field(Cron("*/30 * * * *"), description="Of most runs, in `timezone`.")
    full: Cron | None = Field(Cron("0 3 * * *"), description="Of the run that reads every target in full.")
    pull: Cron | None = Field(
        Cron("15 * * * *"), description="Of reading back what targets know of people, into the write-back table."
    )
    watch_roster: Duration | None = Field(
        timedelta(seconds=60), description="How often to look for a new roster, or new tables of look-ups."
    )


class SloSettings(Section):
    """Promises that are watched."""

    leaver: Duration = Field(timedelta(hours=1), description="A leaver is finished everywhere within this time.")


class WritebackSettings(Section):
    """What HR gets back."""

    url: str | None = Field(None, description="CSV, Parquet or xlsx, by its ending; none: no table.")
    columns: dict[str, str] = Field(default_factory=dict, description="Column: target.attribute.")


class EventRoute(Section):
    """Where an inbound event goes."""

    on: str = Field(description="target.event")
    when: Sql = Field("TRUE", description="SQL predicate over the event's fields and the person's row.")
    to: str = Field(description="target.event, target.tag, target.enrolment, or a URL.")
    name: Sql | None = Field(None, description="SQL expression of the event's name, the tag or the code.")
    secret: SecretStr | None = Field(
        None, description="Signs what goes to a URL; none: the webhook_secret of the target that the event is from."
    )


class NotifySettings(Section):
    """Who is notified."""

    urls: tuple[SecretStr, ...] = Field((), description="apprise addresses; they hold secrets.")
    on: tuple[Literal["held", "failed", "quarantined", "recovered", "rejected", "degraded", "changed"], ...] = Field(
        ("held", "failed", "quarantined", "recovered", "rejected", "degraded", "changed"),
        description="Which changes of state.",
    )


class RetentionSettings(Section):
    """How long history is kept."""

    runs: Duration = Field(timedelta(days=400), description="Runs.")
    operations: Duration = Field(timedelta(days=90), description="Operations with their images.")
    snapshots: Duration = Field(
        timedelta(days=14),
        description="The last clean roster of each day, which `simulate` plans from; 0s keeps the newest only.",
    )
    plans: Duration = Field(
        timedelta(days=30),
        description="Plans for review (`plan --out`), so that `sync --plan DIGEST` finds them.",
    )


class WebUser(Section):
    """Someone who may use the page."""

    name: str = Field(min_length=1, description="Shown in the audit trail.")
    token: SecretStr = Field(description="Signs in.")
    role: Literal["viewer", "operator"] = Field("viewer", description="viewer reads, operator acts.")


class WebSettings(Section):
    """The control page and the HTTP API."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port; 0: any free one.")
    token: SecretStr | None = Field(
        None, description="The operator's; none, and no `web.oidc`: only health and webhooks are served."
    )
    users: tuple[WebUser, ...] = Field((), description="More people.")
    oidc: OidcSettings | None = Field(None, description="Sign-in by OpenID Connect; none: by token only.")
    public_url: str | None = Field(
        None,
        description="Where people reach the page, such as https://provisioner.example.com; none: by the host that "
        "each request names.",
    )
    rosters: tuple[str, ...] = Field(
        (),
        description="Prefixes of the addresses and paths that `POST /api/runs` may name as `roster`, and that a "
        "redirect of it may lead to; none: only `roster.url` itself.",
    )
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
        description="Addresses or networks of reverse proxies whose X-Forwarded-For and -Proto are believed.",
    )

    @field_validator("rosters")
    @classmethod
    def _clear(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(may_be_prefix(one) for one in value)

    @field_validator("public_url")
    @classmethod
    def _reachable(cls, value: str | None) -> str | None:
        return None if value is None else web_address(value, path=False).rstrip("/")

    @property
    def has_page(self) -> bool:
        """Whether somebody could sign in, so that page and API are served."""
        return self.token is not None or self.oidc is not None


class MappingTest(Section):
    """One test of the mapping: a row of the roster, and what accounts it should give."""

    name: str | None = Field(None, description="What it is about, for its report.")
    row: dict[str, Any] = Field(description="Column: cell. Columns that are left out are empty.")
    targets: dict[str, dict[str, Any] | None] = Field(
        default_factory=dict, description="Target: its attributes with the values wanted; null for no account."
    )

    @model_validator(mode="before")
    @classmethod
    def _targets_next_to_the_row(cls, value: Any) -> Any:
        """Take names next to `row` for targets."""
        if not isinstance(value, dict):
            return value
        others = {key: one for key, one in value.items() if key not in cls.model_fields}
        own = {key: one for key, one in value.items() if key in cls.model_fields}
        return {**own, "targets": {**(own.get("targets") or {}), **others}} if others else value


class Settings(BaseSettings):
    """All settings. Build it with `provisioner.settings.load`, which adds the sources and readable errors."""

    model_config = SettingsConfigDict(
        env_prefix="PROVISIONER_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        case_sensitive=False,
        validate_default=False,
    )

    redis_url: SecretStr | None = Field(
        None, description="redis://, rediss://, unix:// or sentinel://; none: the socket of `up` in `data_dir`."
    )
    data_dir: Path = Field(Path("data"), description="Folder for what lives outside Redis.")
    timezone: str = Field("UTC", description="In which start and end dates begin and end.")
    roster: RosterSettings = Field(default_factory=RosterSettings, description="Where people come from.")
    schedule: ScheduleSettings = Field(default_factory=ScheduleSettings, description="When runs begin.")
    guards: GuardSettings = Field(default_factory=GuardSettings, description="Defaults for every target.")
    slo: SloSettings = Field(default_factory=SloSettings, description="Promises that are watched.")
    targets: dict[str, SerializeAsAny[TargetSettings]] = Field(
        default_factory=dict, description="Target by name; [a-z][a-z0-9_]* without a double underscore."
    )
    writeback: WritebackSettings = Field(default_factory=WritebackSettings, description="What HR gets back.")
    events: tuple[EventRoute, ...] = Field((), description="Inbound events, routed.")
    notify: NotifySettings = Field(default_factory=NotifySettings, description="Who is notified.")
    tests: tuple[MappingTest, ...] = Field((), description="Tests of the mapping, run by `test` and `check`.")
    retention: RetentionSettings = Field(default_factory=RetentionSettings, description="How long history is kept.")
    web: WebSettings = Field(default_factory=WebSettings, description="The control page and the HTTP API.")

    @field_validator("redis_url", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: Any) -> Any:
        """Compose files set variables that nobody filled in."""
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        zones = available_timezones()
        if value not in zones:
            raise ValueError(f"{value!r} is no time zone{nearest(value, zones)}")
        return value

    @field_validator("targets", mode="before")
    @classmethod
    def _by_kind(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        targets: dict[str, TargetSettings] = {}
        faults: list[tuple[str, Exception, type[TargetSettings] | None]] = []
        for name, body in value.items():
            model = None
            try:
                filled, model = _with_kind(str(name), body)
                targets[name] = model.model_validate(filled)
            except ValueError as exc:
                faults.append((str(name), exc, model))
        if faults:
            # The loader unfolds this, so that each fault is told with its full path
            raise PydanticCustomError("targets", "targets are wrong", {"faults": faults})
        return targets

    @model_validator(mode="after")
    def _guards_follow_the_top(self) -> Settings:
        for name, target in self.targets.items():
            merged = self.guards
            if target.guards is not None:
                own = {field: getattr(target.guards, field) for field in target.guards.model_fields_set}
                merged = self.guards.model_copy(update=own)
            if merged.overwrites is None:
                merged = merged.model_copy(update={"overwrites": target.overwrites})
            self.targets[name] = target.model_copy(update={"guards": merged})
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The organisation's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def reading_digest(self) -> str:
        """A digest of what decides how a roster's rows are read and judged; no secret is in it."""
        said = self.roster.model_dump_json(exclude=_NOT_READING)
        return hashlib.sha256(f"{self.timezone}\n{said}".encode()).hexdigest()

    def guards_of(self, target: str) -> GuardSettings:
        """The guards of one target, its own over the defaults."""
        return self.targets[target].guards or self.guards


def _with_kind(name: str, body: Any) -> tuple[Any, type[TargetSettings]]:
    if isinstance(body, TargetSettings):
        return body, type(body)
    if not _TARGET_NAME.fullmatch(name) or "__" in name:
        raise ValueError(f"the name {name!r} must be [a-z][a-z0-9_]* without a double underscore")
    if not isinstance(body, dict):
        raise ValueError("must be a mapping of settings")
    kind = str(body.get("kind", name))
    model = settings_model(kind)
    if model is None:
        kinds = known_kinds()
        raise ValueError(f"unknown kind {kind!r}{nearest(kind, kinds)}; kinds are {', '.join(kinds)}")
    filled = {"kind": kind, **body}
    if model.default_base_url and not filled.get("base_url"):
        filled["base_url"] = model.default_base_url
    return filled, model
