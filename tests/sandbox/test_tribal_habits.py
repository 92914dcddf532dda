"""The stand-in of Tribal Habits is as strict as "Public API V1"."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.sandbox.vendor import Vendor

USERS = "/papi/users"
BATCH = "/papi/users/batch_save"


def person(number: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "user_name": f"e{number}",
        "first_name": "Bilbo",
        "last_name": "Baggins",
        "email": f"p{number}@example.com",
        **more,
    }


def day(offset: int) -> str:
    return (datetime.now(UTC) + timedelta(days=offset)).date().isoformat()


def save(vendor: Vendor, *people: Any, **more: Any) -> dict[str, Any]:
    response = vendor.post(BATCH, {"people": list(people), **more})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def reason(vendor: Vendor, row: Any) -> str:
    answer = save(vendor, row)
    assert answer["errors"] == 1
    return str(answer["error_list"][0]["error_reason"])


def test_the_key_stands_alone_in_the_header(tribal_habits: Vendor) -> None:
    key = tribal_habits.client.headers["Authorization"]
    for wrong in (f"Bearer {key}", "other", ""):
        response = tribal_habits.client.get(USERS, headers={"Authorization": wrong})
        assert response.status_code == 401
    assert tribal_habits.status(USERS) == 200


def test_only_json_is_spoken(tribal_habits: Vendor) -> None:
    client = tribal_habits.client
    assert client.get(USERS, headers={"Accept": "text/xml"}).status_code == 406
    assert client.get(USERS, headers={"Accept": "text/xml, application/json;q=0.5"}).status_code == 200
    assert client.post(USERS, content=b"{}").status_code == 400
    assert client.post(USERS, content=b"{", headers={"Content-Type": "application/json"}).status_code == 400


def test_pages_are_capped_and_say_so(tribal_habits: Vendor) -> None:
    tribal_habits.seed(*(person(number) for number in range(250)))
    default = tribal_habits.get(USERS).json()
    assert (default["max_per_page"], default["total_pages"], len(default["records"])) == (25, 10, 25)
    capped = tribal_habits.get(USERS, max_per_page=500, page=3).json()
    assert capped | {"records": []} == {
        "total_records": 250,
        "max_per_page": 100,
        "current_page": 3,
        "total_pages": 3,
        "records": [],
    }
    assert len(capped["records"]) == 50
    assert tribal_habits.get(USERS, page=99).json()["records"] == []
    for wrong in ({"page": 0}, {"page": "x"}, {"max_per_page": "-1"}, {"per_page": 5}):
        assert tribal_habits.client.get(USERS, params=wrong).status_code == 400


def test_filters_take_utc_times_of_one_form(tribal_habits: Vendor) -> None:
    tribal_habits.seed(
        person(1, updated_at="2023-02-01T15:12:13.000+00:00"),
        person(2, updated_at="2023-02-01T15:12:14.000+00:00", active=False),
    )

    def names(**query: str) -> list[str]:
        return [record["user_name"] for record in tribal_habits.get(USERS, **query).json()["records"]]

    assert names(updated_at="2023-02-01T15:12:13") == ["e2"]
    assert names(updated_before="2023-02-01T15:12:14") == ["e1"]
    assert names(active="true") == ["e1"]
    assert names(active="false") == ["e2"]
    assert names(active="") == ["e1", "e2"]
    for wrong in ("2023-02-01", "2023-02-01T15:12:13Z", "2023-02-01T15:12:13.000", "2023-02-31T00:00:00"):
        assert tribal_habits.status(USERS, updated_at=wrong) == 400
    assert tribal_habits.status(USERS, active="yes") == 400


def test_a_user_is_created_read_and_updated(tribal_habits: Vendor) -> None:
    made = tribal_habits.post(USERS, person(groups="A;B", role_1="Sales", **{"X-Age": 27}))
    assert made.status_code == 201
    assert "manager_2_email" not in made.json()
    changed = tribal_habits.put(f"{USERS}/e1", {"first_name": "Frodo"})
    assert changed.status_code == 200
    read = tribal_habits.get(f"{USERS}/e1").json()
    assert (read["first_name"], read["last_name"], read["groups"]) == ("Frodo", "Baggins", "A;B")
    assert (read["role_1"], read["role_2"], read["manager_2_email"]) == ("Sales", "", None)
    assert (read["type"], read["active"], read["X-Age"], read["X-State"]) == ("Staff", True, 27, None)
    assert tribal_habits.status(f"{USERS}/e2") == 404
    assert tribal_habits.put(f"{USERS}/e2", {"first_name": "x"}).status_code == 404
    assert tribal_habits.post(f"{USERS}/e1", {}).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({name: value for name, value in person(9).items() if name != "last_name"}, 400),
        (person(9, last_name=""), 422),
        (person(9, email="no address"), 422),
        (person(9, email="P1@Example.com"), 422),
        (person(9, user_name="E1"), 422),
        (person(9, creator=True), 400),
        (person(9, learner_report_frequency="every_day"), 400),
        (person(9, send_invitation="true"), 422),
    ],
)
def test_a_create_is_refused(tribal_habits: Vendor, body: dict[str, Any], status: int) -> None:
    assert tribal_habits.post(USERS, person()).status_code == 201
    response = tribal_habits.post(USERS, body)
    assert response.status_code == status
    assert response.json()["error"]
    assert len(tribal_habits.state()["accounts"]) == 1


def test_the_update_page_has_no_user_name(tribal_habits: Vendor) -> None:
    tribal_habits.seed(person())
    assert tribal_habits.put(f"{USERS}/e1", {"user_name": "e2"}).status_code == 400
    assert tribal_habits.put(f"{USERS}/e1", {"learner_report_frequency": "every_day"}).status_code == 200
    assert tribal_habits.put(f"{USERS}/e1", {"learner_report_frequency": "hourly"}).status_code == 422


def test_a_batch_carries_out_the_good_rows_and_lists_the_others(tribal_habits: Vendor) -> None:
    tribal_habits.seed(person(1), person(2))
    rows = (
        {"user_name": "e1", "first_name": "Frodo"},
        {"user_name": "e2", "first_name": "Bilbo"},
        person(3),
        {"user_name": "e4", "first_name": "No", "last_name": "Mail"},
        {"user_name": "e1", "first_name": "Again"},
        person(6, email="P3@EXAMPLE.COM"),
        {"first_name": "Nobody"},
    )
    answer = save(tribal_habits, *rows)
    counts = {name: answer[name] for name in ("created", "updated", "unchanged", "errors", "invitations_sent")}
    assert counts == {"created": 1, "updated": 1, "unchanged": 1, "errors": 4, "invitations_sent": 0}
    assert [error["user_name"] for error in answer["error_list"]] == ["e4", "e1", "e6", None]
    again = save(tribal_habits, *rows)
    assert (again["created"], again["updated"], again["unchanged"], again["errors"]) == (0, 0, 3, 4)
    assert tribal_habits.counts()["rows"] == 14


@pytest.mark.parametrize(
    "fields",
    [
        {"active": "false"},
        {"org_admin": 1},
        {"type": "staff"},
        {"language": "english"},
        {"groups": ["A", "B"]},
        {"manager_email": "nobody"},
        {"role_6": "x"},
        {"shoe_size": 43},
        {"X-Unheard": "x"},
        {"X-Birthdate": "1980-01-23"},
        {"X-Birthdate": "31/02/1980"},
        {"X-Age": "old"},
        {"X-Cars": "Toyota;Rocket"},
        {"deactivate_scheduled_date": day(0)},
        {"deactivate_scheduled_date": "31/12/2099"},
        {"team_leader_report_frequency": "never"},
        {"enrolment_code_1": "TH-4-77"},
        {"enrolment_code_1": "TH-9-99-NEW"},
        {"enrolment_code_1": "TH-4-77-NEW", "enrolment_code_1_due_date": "2031-12-31"},
        {"enrolment_code_1_due_date": "31/12/2031"},
        {"enrolment_code_6": "TH-4-77-NEW"},
    ],
)
def test_a_row_is_refused_and_changes_nothing(tribal_habits: Vendor, fields: dict[str, Any]) -> None:
    tribal_habits.seed(person())
    before = tribal_habits.state()
    assert reason(tribal_habits, {"user_name": "e1", "first_name": "Other", **fields})
    assert tribal_habits.state() == before


def test_values_are_read_back_in_the_read_form(tribal_habits: Vendor) -> None:
    custom: dict[str, Any] = {
        "X-Birthdate": "3/1/1980",
        "X-Age": "27.5",
        "X-Cars": "Toyota; Honda",
        "X-Country": "Australia",
    }
    row = person(groups="B;A;A", language="fr", deactivate_scheduled_date=day(9), **custom)
    assert save(tribal_habits, row)["created"] == 1
    read = tribal_habits.get(f"{USERS}/e1").json()
    assert (read["X-Birthdate"], read["X-Age"], read["X-Cars"]) == ("03/01/1980", 27.5, "Toyota;Honda")
    assert read["groups"] == "B;A"
    ends = datetime.fromisoformat(read["deactivate_scheduled_date"])
    assert ends.utcoffset() == timedelta(hours=10)
    assert ends.astimezone(UTC).date().isoformat() == day(9)
    assert save(tribal_habits, {"user_name": "e1", "groups": "A;B"})["unchanged"] == 1
    assert save(tribal_habits, {"user_name": "e1", "deactivate_scheduled_date": None})["updated"] == 1
    assert tribal_habits.get(f"{USERS}/e1").json()["deactivate_scheduled_date"] is None


def test_a_scheduled_date_deactivates_when_it_comes(tribal_habits: Vendor) -> None:
    save(tribal_habits, person(deactivate_scheduled_date=day(3)))
    assert tribal_habits.get(f"{USERS}/e1").json()["active"] is True
    tribal_habits.options(clock_offset_seconds=3 * 86400)
    assert tribal_habits.get(f"{USERS}/e1").json()["active"] is False


def test_invitations_go_to_whom_the_batch_says(tribal_habits: Vendor) -> None:
    assert save(tribal_habits, person(1))["invitations_sent"] == 0
    assert save(tribal_habits, person(1), person(2), send_invitations="new")["invitations_sent"] == 1
    assert save(tribal_habits, person(1), person(2), send_invitations="all")["invitations_sent"] == 2
    invited = [(entry["user_name"], entry["why"]) for entry in tribal_habits.state()["invitations"]]
    assert invited == [("e2", "new"), ("e1", "all"), ("e2", "all")]
    for wrong in ("none", None, True):
        body = {"people": [person(3)], "send_invitations": wrong}
        assert tribal_habits.post(BATCH, body).status_code == 422


def test_a_batch_is_bounded(tribal_habits: Vendor) -> None:
    assert tribal_habits.post(BATCH, {}).status_code == 400
    assert tribal_habits.post(BATCH, {"people": {}}).status_code == 400
    assert tribal_habits.post(BATCH, {"people": [], "dry_run": True}).status_code == 400
    assert tribal_habits.post(BATCH, {"people": [person()], "language": "xx"}).status_code == 422
    full = [person(number) for number in range(1500)]
    assert tribal_habits.post(BATCH, {"people": [*full, person(1500)]}).status_code == 422
    assert save(tribal_habits, *full, language="fr")["created"] == 1500
    assert tribal_habits.get(f"{USERS}/e7").json()["language"] == "fr"


def test_a_changed_email_frees_the_old_one(tribal_habits: Vendor) -> None:
    save(tribal_habits, person(1), person(2))
    assert save(tribal_habits, {"user_name": "e1", "email": "P1@example.com"})["updated"] == 1
    assert save(tribal_habits, {"user_name": "e1", "email": "new@example.com"})["updated"] == 1
    assert save(tribal_habits, {"user_name": "e2", "email": "p1@example.com"})["updated"] == 1
    assert "taken" in reason(tribal_habits, {"user_name": "e1", "email": "P1@example.com"})


def test_enrolments_ride_in_rows_and_go_alone(tribal_habits: Vendor) -> None:
    row = person(
        enrolment_code_1="TH-4-77-NEW", enrolment_code_1_due_date="31/12/2031", enrolment_code_2="THP-4-22-NEW"
    )
    assert save(tribal_habits, row)["enrolled"] == 2
    of_user = tribal_habits.get("/papi/topic_assignments/user/e1").json()
    assert of_user["total_records"] == 1
    record = of_user["records"][0]
    assert (record["topic"]["id"], record["person"]["user_name"]) == (77, "e1")
    assert record["due_date"].startswith("2031-12-31T23:59:59")
    assert tribal_habits.get("/papi/pathway_assignments/user/e1").json()["total_records"] == 1
    alone = {"user_name": "e1", "enrolment_code_1": "TH-4-16-NEW", "enrolment_code_1_conquered_date": "1/2/2020"}
    saved = tribal_habits.post("/papi/topic_assignments", alone)
    assert (saved.status_code, saved.json()["status"]) == (200, "Conquered")
    assert tribal_habits.status(f"/papi/topic_assignments/{saved.json()['id']}") == 200
    listed = tribal_habits.get("/papi/topic_assignments", topic_ids="16").json()["records"]
    assert [item["topic"]["id"] for item in listed] == [16]
    codes = [entry["code"] for entry in tribal_habits.state()["enrolments"]]
    assert codes == ["TH-4-77-NEW", "THP-4-22-NEW", "TH-4-16-NEW"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"enrolment_code_1": "TH-4-77-NEW"}, 400),
        ({"user_name": "e1"}, 400),
        ({"user_name": "e1", "enrolment_code": "TH-4-77-NEW"}, 400),
        ({"user_name": "nobody", "enrolment_code_1": "TH-4-77-NEW"}, 422),
        ({"user_name": "e1", "enrolment_code_1": "TH-1-1-NEW"}, 422),
    ],
)
def test_an_enrolment_is_refused(tribal_habits: Vendor, body: dict[str, Any], status: int) -> None:
    tribal_habits.seed(person())
    assert tribal_habits.post("/papi/topic_assignments", body).status_code == status
    assert tribal_habits.state()["enrolments"] == []


def test_the_catalogue_carries_codes(tribal_habits: Vendor) -> None:
    topics = tribal_habits.get("/papi/topics").json()["records"]
    assert {"TH-4-16", "TH-4-77"} <= {topic["code"] for topic in topics}
    assert {"code", "external_id", "title"} <= set(topics[0])
    assert tribal_habits.get("/papi/pathways").json()["records"][0]["code"] == "THP-4-22"
    assert tribal_habits.status("/papi/topics/77") == 200
    assert tribal_habits.status("/papi/pathways/1") == 404


def test_external_knowledge_answers_without_id_or_user(tribal_habits: Vendor) -> None:
    tribal_habits.seed(person())
    path = "/papi/external_knowledges"
    body = {"user_name": "e1", "title": "t", "provider": "p", "knowledge_type": "1", "date_obtained": "1/6/2021"}
    made = tribal_habits.post(path, body)
    assert made.status_code == 200
    assert (made.json()["knowledge_type"], made.json()["date_obtained"]) == (1, "2021-06-01")
    assert {"id", "user_name"}.isdisjoint(made.json())
    assert tribal_habits.put(f"{path}/1", {"title": "u"}).json()["title"] == "u"
    assert {"id", "user_name"}.isdisjoint(tribal_habits.get(path).json()["records"][0])
    assert tribal_habits.status(f"{path}/2") == 404
    for wrong, status in (
        ({"title": None}, 422),
        ({"knowledge_type": 6}, 422),
        ({"user_name": "x"}, 422),
        ({"a": 1}, 400),
    ):
        assert tribal_habits.post(path, body | wrong).status_code == status
    assert tribal_habits.post(path, {"user_name": "e1"}).status_code == 400
    tribal_habits.options(external_knowledge_ids=True)
    assert tribal_habits.post(path, body).json()["id"] == 2


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"knowledge_type": 5, "document_type": "Policy", "category_1": "HR", "assessment_score": 1.2}, 200),
        ({"expires": "31/12/2030", "country_obtained": "AU", "state_obtained": "NSW"}, 200),
        ({"document_type": "Recipe"}, 422),
        ({"expires": "soon"}, 422),
        ({"country_obtained": "Australia"}, 422),
        ({"assessment_score": "1.2"}, 422),
        ({"notes": 5}, 422),
    ],
)
def test_external_knowledge_is_checked_field_by_field(tribal_habits: Vendor, more: dict[str, Any], status: int) -> None:
    tribal_habits.seed(person())
    body = {"user_name": "e1", "title": "t", "provider": "p", "knowledge_type": 1, "date_obtained": "1/6/2021"}
    assert tribal_habits.post("/papi/external_knowledges", body | more).status_code == status


def test_user_names_with_reserved_characters_are_addressed(tribal_habits: Vendor) -> None:
    tribal_habits.seed(person(user_name="a/b c@example.com"))
    assert tribal_habits.status(f"{USERS}/a%2Fb%20c%40example.com") == 200
    tribal_habits.switchboard.remove(tribal_habits.name, "a/b c@example.com")
    assert tribal_habits.state()["accounts"] == []
