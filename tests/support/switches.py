"""The switches of the sandbox: the readings that a vendor's text leaves open, and how a run may end under each.

`PROVISIONER_TEST_SANDBOX="traitly.known_customer=append,habitate.empty_every=2"` lets every test begin with these;
a test that sets an option of its own still wins. `python -m tests.support.switches` prints those under which all tests
that ask for nothing else are to pass.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from provisioner.sandbox import Switchboard

VARIABLE: Final = "PROVISIONER_TEST_SANDBOX"


@dataclass(frozen=True, slots=True)
class Switch:
    """One switch of one kind.

    `says`: what the run's documents say where the vendor's way cannot be served by itself; empty: the end is exactly
    that of a run without the switch. `exit_code`: how such a run ends. `settings`: what the target's settings say
    about it. `lost`: fields in which what was there before cannot be kept, as the documentation says.
    """

    kind: str
    options: Mapping[str, Any]
    says: str = ""
    exit_code: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    lost: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As the variable takes it."""
        return ",".join(f"{self.kind}.{name}={value}" for name, value in self.options.items())


def _same(kind: str, **options: Any) -> Switch:
    return Switch(kind, options)


#: Where the end is the same, by the settings if need be.
SAME: Final = (
    _same("tribal_habits", page_cap=2),
    Switch("tribal_habits", {"page_cap": -10}, settings={"page_size": 10}),
    _same("tribal_habits", counts_off=True),
    _same("tribal_habits", refused_in_unchanged=True),
    _same("tribal_habits", errors_each=2),
    _same("tribal_habits", uninvited=["*"]),
    _same("tribal_habits", batch_cap=2),
    _same("tribal_habits", dates_shown="%Y-%m-%d"),
    _same("tribal_habits", external_knowledge_ids=True),
    _same("habitate", short_every=1),
    _same("habitate", short_every=0),
    _same("habitate", has_more_might=True),
    _same("habitate", status_names=True),
    _same("habitate", created_role=5),
    _same("habitate", allow_duplicates=True),
    _same("habitate", empty_every=2),
    _same("habitate", statuses_refused=[-100]),
    _same("traitly", page_size=2, metadata="next"),
    _same("traitly", page_size=2, metadata="link"),
    _same("traitly", page_size=2, metadata="cursor"),
    _same("traitly", page_size=2, metadata="silent"),
    _same("traitly", page_size=2, metadata="next", relative_next=True),
    _same("traitly", singular_next_actions=True),
    _same("traitly", typed=True),
    _same("mtribes", bare_lists=True),
    _same("mtribes", page_cap=2),
    Switch(
        "mtribes",
        {"nested": "attributes"},
        settings={"fields": {name: f"attributes.{name}" for name in ("name", "email", "tags")}},
    ),
    Switch("mtribes", {"tag_objects": True}, settings={"fields": {"tags": "tags.name"}}),
    _same("mtribes", row_errors="listed"),
    *(
        Switch("mtribes", options, settings={"dialect": dialect})
        for options, dialect in (
            ({"list_at": "data.items"}, {"list.at": "data.items"}),
            ({"first_page": 0}, {"list.first": 0}),
            ({"paging": "offset"}, {"list.offset": "skip"}),
            ({"paging": "cursor", "page_cap": 2}, {"list.cursor": "after", "list.next": "paging.after"}),
            ({"paging": "next", "page_cap": 2}, {"list.next": "links.next", "page_param": ""}),
            ({"paging": "link", "page_cap": 2}, {"page_param": ""}),
            ({"id_name": "uuid"}, {"ids.at": "uuid", "ingest.id": "uuid"}),
            (
                {"tag_objects": True, "sent_tag_objects": True},
                {"fields.tags": "tags.name", "ingest.fields.tags": "tags[].name"},
            ),
            ({"tags_apart": True}, {"tags.path": "/{api_version}/spaces/{space_id}/users/{user_id}/tags"}),
            ({"ingest_method": "PUT", "ingest_form": ""}, {"ingest.method": "PUT", "envelope": ""}),
            ({"bare_object": True}, {"envelope": None}),
            (
                {"ingest_form": "path"},
                {"paths.ingest": "/{api_version}/spaces/{space_id}/users/{user_id}", "envelope": ""},
            ),
            ({"auth_header": "X-Api-Key", "auth_scheme": ""}, {"auth.header": "X-Api-Key", "auth_scheme": ""}),
            ({"results": "data.results"}, {"ingest.results": "data.results"}),
        )
    ),
    _same("mtribes", batch_cap=2),
)
#: Where somebody has to say what the answer means, or has to look.
NAMED: Final = (
    Switch("tribal_habits", {"custom_fields": {}}, "X-Country", 5),
    Switch("habitate", {"can_list": False}, "habitate", 5),
    Switch("habitate", {"hide_email": True}, "email"),
    Switch("habitate", {"created_status": 4}, "user_status"),
    Switch("habitate", {"details_gone": ["*"]}, "details"),
    Switch("habitate", {"details_forbidden": ["*"]}, "details"),
    Switch("habitate", {"statuses_refused": [-3]}, "status -3 (BANNED)", 5),
    *(
        Switch("traitly", {"page_size": 2, "metadata": shape}, "targets.traitly.paging", 5)
        for shape in ("more", "total", "pages", "nested")
    ),
    Switch("traitly", {"metadata": "request_id"}, "metadata.request_id", 5),
    Switch("traitly", {"known_customer": "append"}, "more than one customer", 4),
    Switch("traitly", {"known_customer": "ignore"}, "shows otherwise", 4),
    Switch("traitly", {"known_customer": "409"}, "Customer exists", 5),
    Switch("mtribes", {"version": "v2"}, "cannot list users (404)", 5),
    # Tags that somebody set by hand cannot be seen, and an ingest replaces them
    Switch("mtribes", {"users_listing": 404}, "cannot list users (404)", lost=("tags",)),
    Switch("mtribes", {"users_listing": 405}, "cannot list users (405)", lost=("tags",)),
    Switch("mtribes", {"bare_object": True}, "", 5),
    Switch("mtribes", {"tag_objects": True}, "targets.mtribes.fields", 5),
    Switch("mtribes", {"nested": "attributes"}, "targets.mtribes.fields", 5),
    Switch("mtribes", {"told_total": True}, "paging.next_cursor", 5),
    # What was sent stays besides what was there, so a leaver's tags are not as wanted
    Switch("mtribes", {"tags_merge": True}, "tags", 4, lost=("tags",)),
    Switch("mtribes", {"first_page": 0}, "dialect.list.first: 0", 5),
    Switch("mtribes", {"list_at": "data.items"}, "dialect.list.at", 5),
    Switch("mtribes", {"id_name": "uuid"}, "dialect.ids.at", 5),
    Switch("mtribes", {"paging": "cursor", "page_cap": 2}, "page", 5),
    Switch("mtribes", {"auth_header": "X-Api-Key"}, "credentials refused", 5),
)


def asked() -> Iterator[tuple[str, dict[str, Any]]]:
    """The switches that the environment names: kind and options."""
    for part in filter(None, os.environ.get(VARIABLE, "").split(",")):
        name, equals, value = part.partition("=")
        kind, dot, option = name.strip().partition(".")
        if not (equals and dot):
            raise ValueError(f"{VARIABLE}: {part!r} is no kind.option=value")
        yield kind, {option: _value(value)}


def _value(text: str) -> Any:
    """As YAML reads it; what is none, such as a date's form, is text."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def turn_on(switchboard: Switchboard, instance: str | None = None) -> None:
    """Set what the environment names, of one instance or of each kind's own."""
    for kind, options in asked():
        if instance is None or instance.split("-")[0] == kind:
            switchboard.options(instance or kind, **options)


if __name__ == "__main__":
    sys.stdout.writelines(f"{one.name}\n" for one in SAME if not one.settings)
