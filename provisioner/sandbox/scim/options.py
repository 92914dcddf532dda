"""What can be set on a SCIM stand-in."""

from dataclasses import dataclass

from provisioner.sandbox.options import Options


@dataclass(frozen=True, slots=True)
class ScimOptions(Options):
    """Options of a SCIM stand-in.

    `discovery`: all, config (only ServiceProviderConfig) or none; the rest answers 404 or 501. `patch`: whether PATCH
    is served (else 501); `patch_form`: one of `patches.FORMS`. `filters`: whether filters are served (else 400);
    `ignore_filters`: they are passed over. `paging`: index, cursor, or none (everything at once, whatever is asked).
    `page_cap`: items of a page at most. `text_booleans`: "True" and "False". `etag`: versions are shown and held to;
    `etag_required`: a change without If-Match is refused (428). `single_members`: one member in or out per request.
    `show_active`: whether users show it. `token_seconds`: how long a token of `/oauth/token` lasts. `silent`: changes
    answer 204. `short_total`: lists count so many more than they show. `group_lag_seconds`: as where a service reads a
    whole group and writes it back without a lock, a PATCH of a group begins from its members as they were so long ago;
    `latency_ms` should be as long. `members_shown`: in lists too, in single groups (`one`), or nowhere (`none`).
    `members_by_name`: groups name their members by user name. `version_seconds`: versions are the second of the last
    change, so that a second one within it has the same. `bulk`: operations of a bulk request at most, 0 where none is
    served; `bulk_bytes`: its length at most; `bulk_silent`: its answer shows no resources; `bulk_cut`: it says what
    became of so many, and no more.
    """

    discovery: str = "all"
    patch: bool = True
    patch_form: str = "any"
    filters: bool = True
    ignore_filters: bool = False
    paging: str = "index"
    page_cap: int = 0
    text_booleans: bool = False
    etag: bool = True
    etag_required: bool = False
    single_members: bool = False
    show_active: bool = True
    token_seconds: int = 3600
    silent: bool = False
    short_total: int = 0
    group_lag_seconds: float = 0.0
    members_shown: str = "all"
    members_by_name: bool = False
    version_seconds: bool = False
    bulk: int = 0
    bulk_bytes: int = 1_000_000
    bulk_silent: bool = False
    bulk_cut: int = 0
