"""A mtribes that answers otherwise than assumed, by the block `dialect` alone. Over real HTTP, against the stand-in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from msgspec import structs
from pydantic import ValidationError

from provisioner.errors import ListingError, MalformedAnswerError, TargetError
from provisioner.model.outcome import Done, Permanent, Temporary, Unclear
from provisioner.sandbox import SandboxServer
from tests.targets.test_mtribes import USERS, Bench, configured, create, update

ONE_USER = "/{api_version}/spaces/{space_id}/users/{user_id}"
TAGS = f"{ONE_USER}/tags"
#: Each deviation: what the stand-in does, and what the settings say about it.
FORMS: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lists nested": ({"list_at": "data.items"}, {"list.at": "data.items"}),
    "a bare array": ({"bare_lists": True}, {}),
    "pages from 0": ({"first_page": 0}, {"list.first": 0}),
    "an offset": ({"paging": "offset"}, {"list.offset": "skip"}),
    "a cursor": ({"paging": "cursor"}, {"list.cursor": "after", "list.next": "paging.after"}),
    "addresses": ({"paging": "next"}, {"list.next": "links.next", "page_param": ""}),
    "the header Link": ({"paging": "link"}, {"page_param": ""}),
    "a bare array with Link": ({"paging": "link", "bare_lists": True}, {"page_param": ""}),
    "another name of the id": ({"id_name": "uuid"}, {"ids.at": "uuid", "ingest.id": "uuid"}),
    "ids as numbers": ({"number_ids": True}, {"ids.numbers": True}),
    "fields nested": (
        {"nested": "attributes", "sent_nested": "attributes", "id_name": "id"},
        {"fields.name": "attributes.name", "fields.email": "attributes.email", "fields.tags": "attributes.tags"},
    ),
    "tags as objects": (
        {"tag_objects": True, "sent_tag_objects": True},
        {"fields.tags": "tags.name", "ingest.fields.tags": "tags[].name"},
    ),
    "tags apart": ({"tags_apart": True}, {"tags.path": TAGS}),
    "ingest as PUT": ({"ingest_method": "PUT"}, {"ingest.method": "PUT"}),
    "ingest of a bare array": ({"ingest_form": ""}, {"envelope": ""}),
    "ingest below two keys": ({"ingest_form": "data.users"}, {"envelope": "data.users"}),
    "one user a call": ({"bare_object": True}, {"envelope": None}),
    "one user a path": (
        {"ingest_form": "path", "ingest_method": "PUT"},
        {"paths.ingest": ONE_USER, "ingest.method": "PUT", "envelope": ""},
    ),
    "another header": (
        {"auth_header": "X-Api-Key", "auth_scheme": ""},
        {"auth.header": "X-Api-Key", "auth_scheme": ""},
    ),
    "errors by row": ({"row_errors": "listed"}, {}),
    "results by row": ({"results": "data.results"}, {"ingest.results": "data.results"}),
    "several at once": (
        {"list_at": "data", "paging": "cursor", "ingest_form": "", "ingest_method": "PATCH", "tags_apart": True,
         "auth_header": "Token", "auth_scheme": "", "id_name": "key", "results": "rows"},
        {"list": {"at": "data", "cursor": "after", "next": "paging.after"}, "envelope": "", "ingest.method": "PATCH",
         "ingest.results": "rows", "tags.path": TAGS, "auth": {"header": "Token"}, "auth_scheme": "", "ids.at": "key",
         "ingest.id": "key"},
    ),
}  # fmt: skip
FORMS["fields nested"][1].update(
    {f"ingest.fields.{name}": f"attributes.{name}" for name in ("name", "email", "tags", "level")}
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    """The running stand-ins."""
    with SandboxServer() as server:
        yield server


def bench_of(sandbox: SandboxServer, options: Mapping[str, Any], dialect: Mapping[str, Any], **more: Any) -> Bench:
    bench = Bench(sandbox, **{"page_size": 3, "dialect": dialect, **more})
    bench.board.options(bench.name, **options)
    return bench


@pytest.mark.parametrize("form", FORMS)
def test_users_are_read_and_written_in_each_form(sandbox: SandboxServer, form: str) -> None:
    bench = bench_of(sandbox, *FORMS[form])
    bench.target.check()
    bench.seed(
        *({"id": str(number), "name": f"N{number}", "email": f"{number}@x.org", "tags": ["hand/made"]}
          for number in range(1, 8))
    )  # fmt: skip
    listing = bench.observe()
    assert listing.doubt is None
    shown = {account.id: account.values for account in listing.accounts}
    assert list(shown) == [str(number) for number in range(1, 8)]
    assert {values["name"] for values in shown.values()} == {f"N{number}" for number in range(1, 8)}
    seen = shown["2"].get("tags")
    assert seen == (None if "apart" in form or "several" in form else "hand/made")
    wanted = "department/sales" if seen is None else f"department/sales;{seen}"
    size = bench.target.batch_size("save")
    changes = [create("8", tags="vip"), update("2", seen, name="New", tags=wanted)]
    outcomes = [outcome for at in range(0, 2, size) for outcome in bench.write(*changes[at : at + size])]
    assert outcomes == [Done(account="8"), Done(account="2")]
    held = bench.held()
    assert held["8"] == {"id": "8", "name": "Ann Lee", "email": "ann@example.com", "tags": ["vip"]}
    assert held["2"]["name"] == "New"
    assert sorted(held["2"]["tags"]) == ["department/sales", "hand/made"]
    assert [account.id for account in bench.observe().accounts][-1] == "8"


#: Forms that need no setting, and what cannot be seen before something is refused.
UNSAID = ("a bare array", "errors by row", "another header", "results by row")


@pytest.mark.parametrize("form", [form for form in FORMS if form not in UNSAID])
def test_without_the_settings_it_is_found_out_before_anything_is_lost(sandbox: SandboxServer, form: str) -> None:
    bench = bench_of(sandbox, FORMS[form][0], {})
    bench.seed(*({"id": str(number), "name": "N", "tags": ["hand/made"]} for number in range(1, 8)))
    try:
        listing = bench.observe(first=True)
    except TargetError:
        return
    if listing.doubt is None:
        # What is read right and sent otherwise is refused
        assert len(listing.accounts) == 7
        (outcome,) = bench.write(update("1", "hand/made", tags="vip"))
        assert isinstance(outcome, Permanent) or form == "the header Link"
        assert bench.held()["1"]["name"] == "N" or form == "the header Link"


def test_pages_that_begin_with_0_are_noticed(sandbox: SandboxServer) -> None:
    bench = bench_of(sandbox, {"first_page": 0}, {})
    bench.seed(*({"id": str(number), "name": "N"} for number in range(1, 8)))
    assert "dialect.list.first: 0" in (bench.observe(first=True).doubt or "")
    said = bench_of(sandbox, {}, {"list.first": 1})
    said.seed({"id": "1", "name": "N"})
    assert said.observe(first=True).doubt is None
    assert [entry["query"] for entry in said.board.log(said.name)] == ["page=1&page_size=3", "page=2&page_size=3"]


@pytest.mark.parametrize("form", ["several at once", "tags as objects", "tags apart"])
def test_the_check_shows_the_first_user_as_it_is_read(sandbox: SandboxServer, form: str) -> None:
    right, wrong = bench_of(sandbox, *FORMS[form]), bench_of(sandbox, {"tag_objects": True, "id_name": "id"}, {})
    for bench in (right, wrong):
        bench.seed({"id": "1", "name": "Ann", "tags": ["hand/made"]})
    said = "The first user, as it is read: id '1', name 'Ann'"
    assert f"{said}, tags 'hand/made'; nothing is read as email." in right.run(right.target.probe, read_only=True)
    lines = wrong.run(wrong.target.probe, read_only=True)
    assert f"{said}; nothing is read as email, tags." in lines
    assert any("Say where that is under targets.tribes.fields" in line for line in lines)


def test_a_result_of_each_row_refuses_that_user_alone(sandbox: SandboxServer) -> None:
    bench = bench_of(sandbox, *FORMS["results by row"])
    bench.board.options(bench.name, row_errors_of=["2"])
    first, second, third = bench.write(create("1"), create("2"), create("3"))
    assert (first, third) == (Done(account="1"), Done(account="3"))
    assert isinstance(second, Permanent)
    assert second.code == "row_refused"
    assert "users[1] is refused" in second.message
    bench.board.fault(bench.name, match={"method": "POST"}, status=207, body={"else": []})
    assert isinstance(bench.write(create("4"))[0], Unclear)


@pytest.mark.parametrize(
    ("entry", "refused"),
    [
        ({"status": "error"}, True), ({"status": "FAILED"}, True), ({"status": False}, True), ({"status": "422"}, True),
        ({"status": "ok"}, False), ({"status": True}, False), ({"status": 201}, False), ({}, False), ("E1", False),
    ],
)  # fmt: skip
def test_what_an_entry_says_of_itself(sandbox: SandboxServer, entry: Any, refused: bool) -> None:
    bench = bench_of(sandbox, {}, {"ingest.results": "results"})
    bench.board.fault(bench.name, match={"method": "POST"}, status=200, body={"results": [entry]})
    assert isinstance(bench.write(create())[0], Permanent) is refused


def test_tags_of_others_stay_where_tags_have_an_endpoint_of_their_own(sandbox: SandboxServer) -> None:
    bench = bench_of(sandbox, *FORMS["tags apart"])
    bench.seed({"id": "1", "name": "N", "tags": ["by/hand", "department/sales"]})
    moved = update("1", None, tags="department/it")
    outcomes = bench.write(structs.replace(moved, before={"tags": "department/sales"}, observed={"tags": None}))
    assert outcomes == [Done(account="1")]
    assert bench.held()["1"]["tags"] == ["by/hand", "department/it"]


def test_tags_that_cannot_be_set_leave_the_user_linked_without_them(sandbox: SandboxServer) -> None:
    bench = bench_of(sandbox, *FORMS["tags apart"])
    bench.board.fault(bench.name, match={"method": "PUT"}, status=422, body={"message": "no such tag"})
    (refused,) = bench.write(create("1", tags="vip"))
    assert isinstance(refused, Permanent)
    assert refused.kept == Done(account="1", learnt={"tags": None})
    bench.board.fault(bench.name, match={"method": "PUT"}, status=503)
    assert isinstance(bench.write(update("1", None, tags="vip"))[0], Temporary)
    bench.board.fault(bench.name, match={"path_prefix": f"{USERS}/1/tags"}, status=200, body={"labels": []})
    assert isinstance(bench.write(update("1", None, tags="vip"))[0], Temporary)
    assert bench.held()["1"]["tags"] == []


def test_ids_that_are_no_numbers_get_no_user() -> None:
    fault = configured(dialect={"ids.numbers": True}).attribute("id").fault
    assert fault is not None
    assert [value for value in ("7", "0", "120", "007", "E1", "1.0", "-1", "٣") if fault(value) is None] == [
        "7", "0", "120",
    ]  # fmt: skip
    assert configured().attribute("id").fault is None


def test_the_way_to_the_next_page_stays_at_home(sandbox: SandboxServer) -> None:
    bench = bench_of(sandbox, *FORMS["addresses"])
    for address in ("https://elsewhere.example/users?page=2", "/v1.0/other?page=2"):
        bench.board.fault(bench.name, status=200, body={"users": [{"id": "1"}], "links": {"next": address}})
        with pytest.raises(ListingError, match=r"links\.next leads to another place"):
            bench.observe()
    bench.board.fault(bench.name, times=None, status=200, body={"users": [], "links": {"next": "?page_size=3"}})
    with pytest.raises(ListingError, match="leads back"):
        bench.observe()
    bench.board.fault(bench.name, status=200, body={"users": [], "links": {"next": {"page": 2}}})
    bench.board.fault(bench.name, status=200, body={"users": []})


def test_a_list_that_is_elsewhere_is_named(sandbox: SandboxServer) -> None:
    bench = bench_of(sandbox, {}, {"list.at": "data.items"})
    with pytest.raises(MalformedAnswerError, match=r"no list at data\.items.*dialect\.list\.at"):
        bench.observe()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"dialect": {"list.at": "a", "list": {"at": "b"}}}, "list.at is given twice"),
        ({"dialect": {"list": 1, "list.at": "b"}}, "list is a value already"),
        ({"dialect": {"page_param": "p"}, "page_param": "q"}, "page_param is given twice"),
        ({"dialect": {"list.cursor": "after"}}, r"needs dialect\.list\.next"),
        ({"dialect": {"tags.path": "/tags"}}, r"needs \{user_id\}"),
        ({"dialect": {"list.pages": 1}}, "pages"),
        ({"dialect": {"auth.header": "no header"}}, "header"),
        ({"dialect": {"ingest.method": "DELETE"}}, "method"),
    ],
)
def test_a_block_that_contradicts_itself_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        configured(**settings)


def test_names_may_be_nested_or_dotted_and_hold_the_older_settings() -> None:
    dotted = configured(
        dialect={"list.at": "a.b", "fields.custom.level": "x.y", "ingest.fields.custom.level": "z", "page_param": "p"}
    ).settings
    nested = configured(
        dialect={"list": {"at": "a.b"}, "ingest": {"fields": {"custom.level": "z"}}},
        fields={"custom.level": "x.y"},
        page_param="p",
    ).settings
    assert dotted == nested
    assert dotted.fields == {"custom.level": "x.y"}
    assert configured(dialect={"envelope": None}).settings.batch_size == 1
    assert configured(dialect={"paths.ingest": ONE_USER}).settings.batch_size == 1
