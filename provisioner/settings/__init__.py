"""Every setting: its meaning, unit, default, and where it may come from.

``load()`` is the one entrance. Environment wins over secret files, they win over YAML.
"""

from provisioner.settings.attribute_rule import AttributeRule, Authority
from provisioner.settings.cron import Cron
from provisioner.settings.kinds import known_kinds
from provisioner.settings.loader import DEFAULT_CONFIG, Loaded, load
from provisioner.settings.root import (
    EventRoute,
    MappingTest,
    NotifySettings,
    RetentionSettings,
    ScheduleSettings,
    Settings,
    SloSettings,
    WebSettings,
    WebUser,
    WritebackSettings,
)
from provisioner.settings.roster import AbsenceSettings, GateSettings, LookupSettings, RosterSettings
from provisioner.settings.sign_in import OidcRoles, OidcSettings
from provisioner.settings.targets import (
    EnrolmentRule,
    GuardLimit,
    GuardSettings,
    RetrySettings,
    TargetSettings,
)
from provisioner.settings.values import (
    UNGUESSABLE,
    Duration,
    Percent,
    Rate,
    parse_duration,
    parse_percent,
    parse_rate,
)

__all__ = [
    "DEFAULT_CONFIG",
    "UNGUESSABLE",
    "AbsenceSettings",
    "AttributeRule",
    "Authority",
    "Cron",
    "Duration",
    "EnrolmentRule",
    "EventRoute",
    "GateSettings",
    "GuardLimit",
    "GuardSettings",
    "Loaded",
    "LookupSettings",
    "MappingTest",
    "NotifySettings",
    "OidcRoles",
    "OidcSettings",
    "Percent",
    "Rate",
    "RetentionSettings",
    "RetrySettings",
    "RosterSettings",
    "ScheduleSettings",
    "Settings",
    "SloSettings",
    "TargetSettings",
    "WebSettings",
    "WebUser",
    "WritebackSettings",
    "known_kinds",
    "load",
    "parse_duration",
    "parse_percent",
    "parse_rate",
]
