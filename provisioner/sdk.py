"""What a package with a target of its own may import. These names are stable; everything else may move.

::

    from provisioner.sdk import Attribute, Done, Http, Target, TargetSettings

The page *Adding a target* of the documentation goes through them; `provisioner.testing` proves a target.
"""

from provisioner.errors import (
    ConfigurationError,
    ListingError,
    MalformedAnswerError,
    TargetError,
    UnauthorisedError,
    UnreachableError,
)
from provisioner.model.account import Account
from provisioner.model.attributes import (
    DETAILS_READ_AT,
    Attribute,
    InvalidValueError,
    Type,
    canonical,
    fold,
    members,
    natural,
    proves,
)
from provisioner.model.event import (
    Fact,
    InboundEvent,
    InvalidEventError,
    any_event,
    digest_of,
    flatten,
    identifier_of,
    moment_of,
    name_of,
    object_of,
    objects_of,
    optional_text,
    text_of,
)
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import DELETED_IN_THE_WAY, Done, Outcome, Permanent, Temporary, Unauthorised, Unclear
from provisioner.model.unconfirmed import parted
from provisioner.settings.nearest import nearest
from provisioner.settings.targets import EnrolmentRule, Section, Sql, TargetSettings
from provisioner.settings.values import Duration, Percent, Rate, Rates
from provisioner.targets.base import Ask, Listing, Target
from provisioner.targets.capabilities import (
    BundlesEnrolments,
    CarriesObserved,
    ChecksNames,
    Confirms,
    Deactivates,
    Enrols,
    Incremental,
    LooksUp,
    PublishesRate,
    ReadBack,
    ReadsBack,
    Recent,
    ReportsEvents,
    ReportsSeveral,
    SchedulesEnd,
    SharesBudget,
    TagsFromEvents,
    TakesEvents,
    TakesKnowledge,
    WantsPrevious,
)
from provisioner.targets.concurrently import each
from provisioner.targets.http import Http, at
from provisioner.targets.responses import ADVICE, Answer, Failure, as_outcome, not_kept, sentence

__all__ = [
    "ADVICE",
    "DELETED_IN_THE_WAY",
    "DETAILS_READ_AT",
    "Account",
    "Answer",
    "Ask",
    "Attribute",
    "BundlesEnrolments",
    "CarriesObserved",
    "ChecksNames",
    "ConfigurationError",
    "Confirms",
    "Deactivates",
    "Done",
    "Duration",
    "EnrolmentRule",
    "Enrols",
    "Fact",
    "Failure",
    "Http",
    "InboundEvent",
    "Incremental",
    "InvalidEventError",
    "InvalidValueError",
    "Kind",
    "Listing",
    "ListingError",
    "LooksUp",
    "MalformedAnswerError",
    "Operation",
    "Outcome",
    "Percent",
    "Permanent",
    "PublishesRate",
    "Rate",
    "Rates",
    "ReadBack",
    "ReadsBack",
    "Recent",
    "ReportsEvents",
    "ReportsSeveral",
    "SchedulesEnd",
    "Section",
    "SharesBudget",
    "Sql",
    "TagsFromEvents",
    "TakesEvents",
    "TakesKnowledge",
    "Target",
    "TargetError",
    "TargetSettings",
    "Temporary",
    "Type",
    "Unauthorised",
    "UnauthorisedError",
    "Unclear",
    "UnreachableError",
    "WantsPrevious",
    "any_event",
    "as_outcome",
    "at",
    "canonical",
    "digest_of",
    "each",
    "flatten",
    "fold",
    "identifier_of",
    "members",
    "moment_of",
    "name_of",
    "natural",
    "nearest",
    "not_kept",
    "object_of",
    "objects_of",
    "optional_text",
    "parted",
    "proves",
    "sentence",
    "text_of",
]
