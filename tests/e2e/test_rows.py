"""Look-ups, computed columns and pick in one sync: real worker, real Redis, real requests to the vendors."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.e2e.site import BY_HAND, deployment
from tests.support.harness import raise_limits

pytestmark = pytest.mark.timeout(120)

ROSTER = """Emp. No.,first_name,last_name,work_email,boss,site,job,primary,status
000101,Łucja,Weiß,lucja@example.com,,SYD,MD,Yes,active
000102,Tom,Berg,tom@example.com,000101,MEL,RN,No,active
000102,Tom,Berg,tom@example.com,000101,SYD,XX,Yes,active
000103,Mia,Roth,mia@example.com,000102,NIX,RN,Yes,active
Total,3,,,,,,,
"""
READING = {
    "rename": {"Emp. No.": "employee_id"},
    "skip": "employee_id LIKE 'Total%'",
    "columns": {"login": "ASCII(LOWER(first_name)) || '.' || ASCII(LOWER(last_name))", "place": "site_of.city"},
    "lookups": {
        "manager": {"by": "boss"},
        "job_of": {"by": "job", "values": {"RN": "Nurse", "MD": "Doctor"}, "default": "Staff"},
    },
    "pick": "CASE WHEN \"primary\" = 'Yes' THEN 0 ELSE 1 END",
    "employed": "status = 'active'",
    "exclude": "FALSE",
    "starts": None,
    "ends": None,
}
ATTRIBUTES = {
    "user_name": "employee_id",
    "first_name": "first_name",
    "last_name": "last_name",
    "email": "LOWER(work_email)",
    "active": "TRUE",
    "manager_email": "LOWER(manager.work_email)",
    "groups": "job_of.value || ';' || COALESCE(place, 'Nowhere')",
}


def test_an_export_as_it_is_reaches_the_vendor(tmp_path: Path) -> None:
    with deployment(tmp_path, schedule=BY_HAND, only=("tribal_habits",)) as site:
        sites = tmp_path / "sites.csv"
        sites.write_text("code,city\nSYD,Sydney\nMEL,Melbourne\n", encoding="utf-8")
        document = yaml.safe_load(site.config.read_text(encoding="utf-8"))
        document["roster"] |= READING
        document["roster"]["lookups"]["site_of"] = {"by": "site", "in": str(sites), "key": "code"}
        target = document["targets"]["tribal_habits"]
        target |= {"attributes": ATTRIBUTES, "enrolments": [], "external_knowledge": [], "scope": "TRUE"}
        site.config.write_text(yaml.safe_dump(document), encoding="utf-8")
        site.switchboard.reset()
        raise_limits(site.switchboard)
        site.roster.write_text(ROSTER, encoding="utf-8")
        worker = site.start_worker()
        try:
            run = site.call("sync", "--wait")
            assert (run["roster"]["rows"], run["roster"]["people"], run["roster"]["rejected"]) == (5, 3, 0)
            notes = " ".join(run["roster"]["notes"])
            assert "1 row is no person by roster.skip (line 6)" in notes
            assert "1 row is a further row of people" in notes
            assert "roster.lookups.site_of: 1 row finds nothing in" in notes
            found = {one["user_name"]: one for one in site.switchboard.accounts("tribal_habits")}
            assert sorted(found) == ["000101", "000102", "000103"]
            assert [found[key].get("manager_email") or None for key in sorted(found)] == [
                None,
                "lucja@example.com",
                "tom@example.com",
            ]
            groups = [sorted(found[key]["groups"].split(";")) for key in sorted(found)]
            assert groups == [["Doctor", "Sydney"], ["Staff", "Sydney"], ["Nowhere", "Nurse"]]
            row = site.call("why", "000102")["roster"]["row"]
            assert (row["login"], row["manager.work_email"]) == ("tom.berg", "lucja@example.com")

            # Two keys lose their zeros: nobody gets a second account, nobody leaves
            site.roster.write_text(
                ROSTER.replace("\n000103,Mia", "\n103,Mia").replace("mia@example.com", "m2@example.com"), "utf-8"
            )
            held = site.call("sync", "--wait", code=4)
            assert "000103 and 103" in " ".join(held["roster"]["degraded"])
            assert "export the key as text" in " ".join(held["roster"]["degraded"])
            assert len(site.switchboard.accounts("tribal_habits")) == 3

            # A table that went empty degrades the roster, and nobody leaves for what is not found
            site.roster.write_text(ROSTER, encoding="utf-8")
            sites.write_text("code,city\n", encoding="utf-8")
            empty = site.call("sync", "--wait", code=4)
            assert "The file of roster.lookups.site_of is empty." in empty["roster"]["degraded"]
            assert empty["targets"]["tribal_habits"]["planned"].get("leave", 0) == 0
        finally:
            worker.stop()
