"""Where settings come from, which source wins, and what a wrong one says."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.errors import ConfigurationError
from provisioner.settings import Rate, Settings, load
from provisioner.targets.habitate.settings import HabitateSettings
from provisioner.targets.tribal_habits.settings import TribalHabitsSettings

TARGET: dict[str, Any] = {
    "base_url": "https://myorg.example.com",
    "api_key": "from-yaml",
    "match": ["user_name"],
    "attributes": {"user_name": "employee_id", "active": True, "email": "work_email"},
}


def write(folder: Path, document: Any) -> Path:
    path = folder / "provisioner.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
    return path


def loaded(folder: Path, document: Any, **environ: str) -> Settings:
    return load(write(folder, document), environ=environ).settings


def fault(folder: Path, document: Any, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        loaded(folder, document, **environ)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_environment_wins_over_secret_files_and_they_win_over_yaml(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "targets__tribal_habits__api_key").write_text("from-file\n")
    (secrets / "redis_url").write_text("redis://from-file/0\n")
    document = {"redis_url": "redis://from-yaml/0", "targets": {"tribal_habits": TARGET}}
    environ = {"PROVISIONER_SECRETS_DIR": str(secrets), "PROVISIONER_REDIS_URL": "redis://from-environment/0"}
    settings = loaded(tmp_path, document, **environ)
    target = settings.targets["tribal_habits"]
    assert isinstance(target, TribalHabitsSettings)
    assert target.api_key is not None
    assert target.api_key.get_secret_value() == "from-file"
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://from-environment/0"


def test_levels_are_merged_and_structures_may_be_written_as_json(tmp_path: Path) -> None:
    environ = {
        "PROVISIONER_TARGETS__TRIBAL_HABITS__MATCH": '["user_name", "email"]',
        "PROVISIONER_TARGETS__TRIBAL_HABITS__RETRY__FOR": "90s",
        "PROVISIONER_GUARDS__LEAVERS": "{percent: 3%, absolute: 7}",
        "PROVISIONER_WEB__TOKEN": "12345",
        "PROVISIONER_SCHEDULE__FULL": "null",
    }
    settings = loaded(tmp_path, {"targets": {"tribal_habits": TARGET}}, **environ)
    target = settings.targets["tribal_habits"]
    assert target.match == ("user_name", "email")
    assert target.retry.for_ == timedelta(seconds=90)
    assert settings.guards_of("tribal_habits").leavers.percent == 3
    assert settings.guards_of("tribal_habits").leavers.absolute == 7
    assert settings.web.token is not None
    assert settings.schedule.full is None


def test_a_target_may_be_made_of_the_environment_alone(tmp_path: Path) -> None:
    environ = {
        f"PROVISIONER_TARGETS__HR_SPACE__{name}": value
        for name, value in {
            "KIND": "habitate",
            "BASE_URL": "http://localhost:1",
            "API_KEY": "k",
            "MATCH": "[email]",
            "ATTRIBUTES": "{email: work_email, first_name: first_name}",
        }.items()
    }
    target = loaded(tmp_path, {}, **environ).targets["hr_space"]
    assert isinstance(target, HabitateSettings)
    assert target.attributes["email"].from_ == "work_email"


def test_values_of_all_forms(tmp_path: Path) -> None:
    own = {
        **TARGET,
        "rate_limit": ["10/second", "300/minute"],
        "guards": {"leavers": {"percent": "5%"}},
        "attributes": {**TARGET["attributes"], "language": {"from": "language", "authority": "create_only"}},
        "leaver": {"active": False},
    }
    settings = loaded(tmp_path, {"targets": {"west": {**own, "kind": "tribal_habits"}}, "roster": {"exclude": None}})
    target = settings.targets["west"]
    assert target.rate_limit == (Rate(10, 1.0), Rate(300, 60.0))
    assert target.attributes["active"].from_ == "TRUE"
    assert target.leaver["active"].from_ == "FALSE"
    assert target.attributes["language"].authority == "create_only"
    guards = settings.guards_of("west")
    assert (guards.leavers.percent, guards.leavers.absolute) == (5, None)
    assert guards.updates.percent == 50, "what a target does not set follows the top"
    assert settings.roster.exclude == "FALSE"


def test_words_that_yaml_1_1_takes_for_booleans_stay_words(tmp_path: Path) -> None:
    events = "events:\n  - {on: tribal_habits.enrolment_completed, to: traitly.event, name: yes}\n"
    settings = loaded(tmp_path, events)
    assert settings.events[0].on == "tribal_habits.enrolment_completed"
    assert settings.events[0].name == "yes"


@pytest.mark.parametrize(
    ("document", "environ", "told"),
    [
        ({"rediss_url": "x"}, {}, "rediss_url: no such setting (did you mean 'redis_url'?)"),
        ({"roster": {"keyy": "x"}}, {}, "roster.keyy: no such setting (did you mean 'key'?)"),
        (
            {"roster": {"absence": {"snapshot": 1}}},
            {},
            "roster.absence.snapshot: no such setting (did you mean 'snapsh",
        ),
        ({"targets": {"tribal_habit": {}}}, {}, "targets.tribal_habit: unknown kind 'tribal_habit' (did you mean"),
        ({"targets": {"a__b": {}}}, {}, "targets.a__b: the name 'a__b' must be"),
        (
            {"targets": {"habitate": {**TARGET, "retry": {"fo": "1h"}}}},
            {},
            "targets.habitate.retry.fo: no such setting",
        ),
        ({"targets": {"tribal_habits": {**TARGET, "api_keyy": "x"}}}, {}, "(did you mean 'api_key'?)"),
        ({"targets": {"tribal_habits": {**TARGET, "api_key": None}}}, {}, "api_key is missing"),
        ({"targets": {"tribal_habits": {**TARGET, "base_url": "http://myorg.example.com"}}}, {}, "must be https"),
        ({"targets": {"tribal_habits": {**TARGET, "base_url": "https://u:p@example.com"}}}, {}, "neither credentials"),
        ({"targets": {"tribal_habits": {**TARGET, "match": ["lms"]}}}, {}, "match names 'lms'"),
        ({"roster": {"gate": {"max_shrink": 300}}}, {}, "roster.gate.max_shrink: 300 is no percentage"),
        ({"roster": {"absence": {"grace": 24}}}, {}, "24 is no duration; write a number with its unit"),
        ({"schedule": {"sync": "often"}}, {}, "schedule.sync: 'often' is no cron expression"),
        ({"timezone": "Australia/Sidney"}, {}, "(did you mean 'Australia/Sydney'?)"),
        ({}, {"PROVISIONER_WEBB__PORT": "1"}, "PROVISIONER_WEBB__PORT names no setting (did you mean 'WEB'?)"),
        ({}, {"PROVISIONER_WEB__PORTT": "1"}, "web.portt: no such setting (did you mean 'port'?)"),
        ("a: 1\na: 2\n", {}, "the key 'a' is there twice"),
        ("a: [1", {}, "is no YAML"),
        ("- 1", {}, "must hold a mapping"),
    ],
)
def test_what_is_wrong_is_named_with_the_nearest_known_key(
    tmp_path: Path, document: Any, environ: dict[str, str], told: str
) -> None:
    assert told in fault(tmp_path, document, **environ)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = fault(tmp_path, {"roster": {"keyy": 1}, "targets": {"traitly": {}, "habitat": {}}})
    assert len(text.splitlines()) == 4


def test_other_variables_of_ours_only_warn(tmp_path: Path) -> None:
    found = load(write(tmp_path, {}), environ={"PROVISIONER_PORT": "tcp://10.0.0.1:80", "UNRELATED__X": "1"})
    assert found.warnings == ("The environment variable PROVISIONER_PORT names no setting; it is ignored.",)


def test_a_named_file_must_exist_and_the_default_one_need_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(environ={}).config is None
    with pytest.raises(ConfigurationError, match="does not exist"):
        load(environ={"PROVISIONER_CONFIG": "nowhere.yaml"})
    with pytest.raises(ConfigurationError, match="secrets folder"):
        load(environ={"PROVISIONER_SECRETS_DIR": "nowhere"})


def test_secret_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "some_other_secret").write_text("x")
    (tmp_path / "..data").mkdir()
    load(write(tmp_path, {}), environ={"PROVISIONER_SECRETS_DIR": str(tmp_path)})
    (tmp_path / "targetz__a__b").write_text("x")
    with pytest.raises(ConfigurationError, match="targetz"):
        load(write(tmp_path, {}), environ={"PROVISIONER_SECRETS_DIR": str(tmp_path)})


def test_secrets_never_show_in_a_dump(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {"redis_url": "redis://:hush@h/0", "targets": {"tribal_habits": TARGET}})
    for text in (repr(settings), settings.model_dump_json()):
        assert "hush" not in text
        assert "from-yaml" not in text


def test_every_setting_says_what_it_means() -> None:
    pending: list[Any] = [Settings, TribalHabitsSettings, HabitateSettings]
    seen: set[Any] = set()
    while pending:
        model = pending.pop()
        if model in seen:
            continue
        seen.add(model)
        for name, field in model.model_fields.items():
            assert field.description or model.__name__ == "MtribesPaths", f"{model.__name__}.{name}"
            inner = field.annotation
            if isinstance(inner, type) and hasattr(inner, "model_fields"):
                pending.append(inner)
    assert len(seen) > 10


OIDC: dict[str, Any] = {"issuer": "https://login.example.com", "client_id": "us", "roles": {"operator": ["admins"]}}


def test_sign_in_by_a_provider_may_be_written_in_several_ways(tmp_path: Path) -> None:
    environ = {
        "PROVISIONER_WEB__OIDC__CLIENT_SECRET": "hush",
        "PROVISIONER_WEB__OIDC__SCOPES": "profile groups",
        "PROVISIONER_WEB__OIDC__ROLES__VIEWER": "staff",
    }
    found = loaded(tmp_path, {"web": {"oidc": OIDC}}, **environ).web.oidc
    assert found is not None
    assert found.scopes == ("openid", "profile", "groups")
    assert (found.roles.claim, found.roles.operator, found.roles.viewer) == ("groups", ("admins",), ("staff",))
    assert "hush" not in repr(found)
    assert found.roles.role_of(frozenset({"admins", "staff"})) == "operator"
    assert found.roles.role_of(frozenset({"staff"})) == "viewer"
    assert found.roles.role_of(frozenset({"Staff", ""})) is None
    local = {**OIDC, "issuer": "http://localhost:8080/realms/staff/"}
    assert loaded(tmp_path, {"web": {"oidc": local}}).web.has_page


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"oidc": {**OIDC, "issuer": "http://login.example.com"}}, "web.oidc.issuer: must be https"),
        ({"oidc": {**OIDC, "issuer": "login.example.com"}}, "web.oidc.issuer: must be an address such as"),
        ({"oidc": {**OIDC, "issuer": "https://me:hush@login.example.com"}}, "web.oidc.issuer: must have neither user"),
        ({"oidc": {**OIDC, "issuer": "https://login.example.com?hush"}}, "web.oidc.issuer: must have neither user"),
        ({"oidc": {**OIDC, "issuer": "https://login.example.com:x"}}, "web.oidc.issuer: must be an address"),
        ({"oidc": {**OIDC, "roles": {"claim": "groups"}}}, "web.oidc.roles: name a value under operator or viewer"),
        ({"oidc": {**OIDC, "roles": {"viewer": [""]}}}, "web.oidc.roles: an empty value"),
        ({"oidc": {**OIDC, "roles": {"operators": ["a"]}}}, "no such setting (did you mean 'operator'?)"),
        ({"oidc": {"issuer": "https://login.example.com"}}, "web.oidc.client_id: is missing"),
        ({"oidc": {**OIDC, "client_id": ""}}, "web.oidc.client_id:"),
        ({"public_url": "https://example.com/provisioner"}, "web.public_url: must have no path"),
        ({"public_url": "http://example.com"}, "web.public_url: must be https"),
    ],
)
def test_what_is_wrong_about_signing_in_is_a_sentence(tmp_path: Path, own: dict[str, Any], said: str) -> None:
    message = fault(tmp_path, {"web": own})
    assert said in message
    assert "hush" not in message


@pytest.mark.parametrize("written", ['"scim:"', "scim:", "scim:   # pushed", "'scim:'", "scim://"])
def test_people_who_are_pushed_are_understood_with_or_without_quotes(tmp_path: Path, written: str) -> None:
    path = tmp_path / "provisioner.yaml"
    path.write_text(f"roster:\n  url: {written}\n  scim: {{token: scim-token-0123456789}}\n", encoding="utf-8")
    roster = load(path, environ={}).settings.roster
    assert (roster.pushed_people, roster.key) == (True, "externalId")


def test_pushed_people_by_the_environment_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"PROVISIONER_ROSTER__URL": "scim:", "PROVISIONER_ROSTER__SCIM__TOKEN": "scim-token-0123456789"}
    roster = load(environ=names).settings.roster
    assert (roster.pushed_people, roster.key, roster.previous_key) == (True, "externalId", "previousKey")
    with pytest.raises(ConfigurationError, match=r"scim\.token is needed"):
        load(environ={"PROVISIONER_ROSTER__URL": "scim:"})
