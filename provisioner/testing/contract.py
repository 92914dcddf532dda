"""What every target promises, as tests: subclass `TargetContract` in a module that pytest collects.

::

    class TestAcmeBadges(TargetContract):
        case = Case(target=AcmeBadges, settings={...}, image={...}, ...)

        @pytest.fixture
        def stand_in(self) -> Iterator[str]:
            with Server(Vendor().answer) as server:
                yield server.url

The stand-in holds nobody at first, or only accounts that are not the tests' own; each test gets a fresh one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import pytest

from provisioner.errors import ReadOnlyError, TargetError, UnauthorisedError, UnreachableError
from provisioner.model.attributes import fold
from provisioner.model.operation import Kind, Operation
from provisioner.model.outcome import Done, Outcome, Permanent, Temporary, Unauthorised, Unclear
from provisioner.settings import kinds
from provisioner.targets import http as transport
from provisioner.targets.base import Ask, Target
from provisioner.targets.capabilities import CAPABILITIES, Confirms, Incremental, LooksUp
from provisioner.testing.bench import Bench, change
from provisioner.testing.proxy import Lie, Proxy
from provisioner.testing.server import Reply

#: Answers that are none, each an answer to every request of a test.
LIES: Final[Mapping[str, Lie]] = {
    "empty": Lie(Reply(content=b"")),
    "html": Lie(Reply(content=b"<html>Maintenance</html>", headers={"Content-Type": "text/html"})),
    "truncated": Lie(Reply(content=b'{"records": [{"user_na')),
    "wrong_types": Lie(Reply(content=b"[[1, 2], null]")),
    "number": Lie(Reply(content=b"17")),
    "wrong_shapes": Lie(Reply(content=b'{"data": 1, "users": "x", "records": 3}')),
    "redirect": Lie(Reply(302, headers={"Location": "http://127.0.0.1:1/"})),
    "broken": Lie(Reply(500)),
    "dropped": Lie(Reply(drop=True), afterwards=True),
}


@dataclass(frozen=True, slots=True)
class Case:
    """The test data of one kind of target; all values are canonical text.

    `settings` are those of the YAML file, without `kind` and `base_url`. `image` is what a person's account should
    hold; ``{n}`` in it is the person's number. `moved`, `left` and `back` are what an update, a leave and a rejoin
    bring. `bad` makes a create impossible. `refused` are settings whose credentials the stand-in refuses. `volatile`
    are attributes that change by themselves, such as the time of the last change. `tells_of_missing`: the vendor tells
    of an account that is no longer there; then override `TargetContract.remove`.
    """

    target: type[Target[Any]]
    settings: Mapping[str, Any]
    image: Mapping[str, str]
    moved: Mapping[str, str | None]
    left: Mapping[str, str | None]
    back: Mapping[str, str | None]
    bad: Mapping[str, str | None]
    refused: Mapping[str, Any]
    volatile: frozenset[str] = frozenset()
    tells_of_missing: bool = False

    def image_of(self, number: int) -> dict[str, str | None]:
        """The image of a person."""
        return {name: text.replace("{n}", str(number)) for name, text in self.image.items()}

    def create(self, number: int, **more: str | None) -> Operation:
        """The create of a person."""
        return change(Kind.CREATE, None, {**self.image_of(number), **more}, person=f"E{number}")

    def change(self, kind: Kind, number: int, account: str, bench: Bench | None = None) -> Operation:
        """An update, leave or rejoin of a person.

        Args:
            bench: where what is carried along is looked up, if the target wants any.
        """
        after = {Kind.UPDATE: self.moved, Kind.LEAVE: self.left, Kind.REJOIN: self.back}[kind]
        before = self.image_of(number)
        carried = bench.carried(account) if bench is not None else {}
        return change(
            kind, account, after, person=f"E{number}", wanted={**before, **after}, before=before, observed=carried
        )


class TargetContract:
    """The suite. A subclass gives `case` and the fixture `stand_in`."""

    case: ClassVar[Case]

    @pytest.fixture
    def stand_in(self) -> Any:
        """The address of a fresh stand-in of the vendor."""
        raise NotImplementedError

    def remove(self, account: str) -> None:
        """Delete an account at the stand-in, behind the target's back."""
        raise NotImplementedError

    @pytest.fixture
    def proxy(self, stand_in: str) -> Iterator[Proxy]:
        """What is in front of the stand-in."""
        with Proxy(stand_in) as proxy:
            yield proxy

    @pytest.fixture
    def bench(self, proxy: Proxy) -> Bench:
        """A target that is configured for the stand-in."""
        return self.configured(proxy.url)

    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Reading gives up at the first failure, so that no test waits."""
        monkeypatch.setattr(transport, "READ_TRIES", 1)

    def configured(self, base_url: str, **changes: Any) -> Bench:
        """A target with the case's settings."""
        document = {"kind": self.case.target.kind, "base_url": base_url, **self.case.settings, **changes}
        settings = self.case.target.settings_model.model_validate(document)
        return Bench(self.case.target("t", settings))

    def created(self, bench: Bench, *numbers: int) -> list[str]:
        """Create people; their accounts."""
        outcomes = bench.write(*(self.case.create(number) for number in numbers))
        accounts = [outcome.account for outcome in outcomes if isinstance(outcome, Done) and outcome.account]
        assert len(accounts) == len(numbers), outcomes
        return accounts

    def shows(self, bench: Bench, account: str, image: Mapping[str, str | None]) -> bool:
        """Whether an account shows an image, as far as the vendor shows it."""
        held = bench.accounts()[account].values
        named = {name: bench.target.attribute(name) for name in image}
        return all(
            fold(held.get(name), attribute.type) == fold(image[name], attribute.type)
            for name, attribute in named.items()
            if attribute.observed
        )

    def state(self, bench: Bench) -> dict[str, dict[str, str | None]]:
        """What is observed but for what changes by itself, by account."""
        return {
            one.id: {name: value for name, value in one.values.items() if name not in self.case.volatile}
            for one in bench.observe().accounts
        }

    def test_the_entry_point_of_the_kind_names_the_class(self) -> None:
        assert kinds.target_class(self.case.target.kind) is self.case.target

    def test_it_declares_what_it_offers(self) -> None:
        for capability in CAPABILITIES:
            named = {*vars(capability), *capability.__annotations__}
            members = {name for name in named if not name.startswith("_")}
            has = {name for name in members if hasattr(self.case.target, name)}
            declared = capability in self.case.target.__mro__
            expected = members if declared else set()
            assert has == expected, f"{capability.__name__}: has {sorted(has)}, declared: {declared}"

    def test_settings_pass_the_check(self, bench: Bench) -> None:
        bench.target.check()

    def test_probe_answers_in_sentences(self, bench: Bench, proxy: Proxy) -> None:
        assert all(sentence.strip() for sentence in bench.probe())
        assert (proxy.reads > 0, proxy.writes) == (True, 0)

    def test_create_is_observed_and_a_whole_listing_is_shown(self, bench: Bench) -> None:
        accounts = self.created(bench, 1, 2, 3, 4, 5)
        assert len(set(accounts)) == 5
        listing = bench.observe()
        assert listing.complete
        assert set(accounts) <= {account.id for account in listing.accounts}
        for number, account in enumerate(accounts, start=1):
            assert self.shows(bench, account, self.case.image_of(number))

    def test_the_same_change_again_alters_nothing(self, bench: Bench) -> None:
        (account,) = self.created(bench, 1)
        (first,) = bench.write(self.case.change(Kind.UPDATE, 1, account, bench))
        before = self.state(bench)
        (again,) = bench.write(self.case.change(Kind.UPDATE, 1, account, bench))
        assert isinstance(first, Done)
        assert isinstance(again, Done)
        assert self.state(bench) == before
        assert self.shows(bench, account, {**self.case.image_of(1), **self.case.moved})

    def test_leave_and_rejoin(self, bench: Bench) -> None:
        (account,) = self.created(bench, 1)
        for kind, after in ((Kind.LEAVE, self.case.left), (Kind.REJOIN, self.case.back)):
            (outcome,) = bench.write(self.case.change(kind, 1, account, bench))
            assert isinstance(outcome, Done)
            assert self.shows(bench, account, after)

    def test_leavers_have_a_group_of_their_own(self, bench: Bench) -> None:
        leave = bench.target.group(self.case.change(Kind.LEAVE, 1, "E1"))
        others = [self.case.create(2), *(self.case.change(kind, 3, "E3") for kind in (Kind.UPDATE, Kind.REJOIN))]
        assert leave not in {bench.target.group(other) for other in others}
        assert bench.target.batch_size(leave.partition("#")[0]) >= 1

    def test_one_bad_row_stands_alone(self, bench: Bench) -> None:
        good, bad, other = bench.write(self.case.create(1), self.case.create(2, **self.case.bad), self.case.create(3))
        assert isinstance(good, Done)
        assert isinstance(other, Done)
        assert isinstance(bad, Permanent)
        assert bad.message

    def test_someone_already_gone_has_left(self, bench: Bench) -> None:
        if not self.case.tells_of_missing:
            pytest.skip("the vendor does not tell of an account that is not there")
        (account,) = self.created(bench, 1)
        leave = self.case.change(Kind.LEAVE, 1, account, bench)
        self.remove(account)
        (outcome,) = bench.write(leave)
        assert isinstance(outcome, Done)
        assert outcome.note

    def test_finding_a_linked_account_shows_it_as_a_listing_does(self, bench: Bench) -> None:
        target = bench.target
        if not isinstance(target, LooksUp):
            pytest.skip("nobody can be looked up")
        first, _ = self.created(bench, 1, 2)
        found = bench.run(lambda http: target.find(http, [Ask("E1", first)], {}), read_only=True)
        assert found is not None
        assert not found.complete
        (shown,) = found.accounts
        listed = self.state(bench)[first]
        assert shown.id == first
        assert {name: shown.values.get(name) for name in self.case.image} == {
            name: listed.get(name) for name in self.case.image
        }

    def test_recent_changes_are_shown_with_the_number_of_all(self, bench: Bench) -> None:
        target = bench.target
        if not isinstance(target, Incremental):
            pytest.skip("changes alone cannot be read")
        accounts = self.created(bench, 1, 2)
        recent = bench.run(lambda http: target.observe_recent(http, 0.0), read_only=True)
        assert set(accounts) <= {account.id for account in recent.accounts}
        assert recent.total == len(bench.observe().accounts)

    def test_a_create_whose_answer_was_lost_ends_with_one_account(self, bench: Bench, proxy: Proxy) -> None:
        before = set(bench.accounts())
        proxy.lie(LIES["dropped"], writing=True)
        (lost,) = bench.write(self.case.create(1))
        proxy.lie(None, writing=True)
        assert isinstance(lost, Unclear)
        target, found = bench.target, None
        if isinstance(target, Confirms) and Kind.CREATE in target.hurts_twice:
            found = bench.run(lambda http: target.confirm(http, self.case.create(1)))
        if found is None:
            (found,) = bench.write(self.case.create(1))
        assert isinstance(found, Done)
        assert len(set(bench.accounts()) - before) == 1

    def test_wrong_credentials_are_told_as_such(self, proxy: Proxy) -> None:
        bench = self.configured(proxy.url, **self.case.refused)
        with pytest.raises(UnauthorisedError):
            bench.observe()
        with pytest.raises(UnauthorisedError):
            bench.probe()
        assert all(isinstance(outcome, Unauthorised) for outcome in bench.write(self.case.create(1)))

    def test_nobody_there_is_unreachable(self) -> None:
        bench = self.configured("http://127.0.0.1:9")
        with pytest.raises(UnreachableError):
            bench.observe()
        (outcome,) = bench.write(self.case.create(1))
        assert isinstance(outcome, Temporary)
        assert outcome.unreached

    def test_a_transport_for_reading_writes_nothing(self, bench: Bench, proxy: Proxy) -> None:
        (account,) = self.created(bench, 1)
        update = self.case.change(Kind.UPDATE, 1, account, bench)
        proxy.writes = 0
        with pytest.raises(ReadOnlyError):
            bench.run(lambda http: bench.target.write(http, [update]), read_only=True)
        assert proxy.writes == 0

    @pytest.mark.parametrize("lie", sorted(LIES))
    def test_a_listing_that_is_none_is_an_error(self, bench: Bench, proxy: Proxy, lie: str) -> None:
        self.created(bench, 1)
        proxy.lie(LIES[lie], writing=False)
        with pytest.raises(TargetError) as caught:
            bench.observe()
        assert caught.value.target == "t"

    @pytest.mark.parametrize("lie", sorted(LIES))
    @pytest.mark.parametrize("kind", [Kind.CREATE, Kind.UPDATE, Kind.LEAVE])
    def test_an_answer_to_a_write_that_is_none_is_classified(
        self, bench: Bench, proxy: Proxy, lie: str, kind: Kind
    ) -> None:
        (account,) = self.created(bench, 1)
        create = kind is Kind.CREATE
        operation = self.case.create(2) if create else self.case.change(kind, 1, account, bench)
        proxy.lie(LIES[lie], writing=True)
        (outcome,) = bench.write(operation)
        assert isinstance(outcome, (Done, Permanent, Temporary, Unclear))
        if lie in ("redirect", "broken", "dropped"):
            assert not isinstance(outcome, Done)

    @pytest.mark.parametrize("status", [408, 425, 429, 503])
    def test_what_was_not_carried_out_is_temporary(self, bench: Bench, proxy: Proxy, status: int) -> None:
        proxy.lie(Lie(Reply(status, headers={"Retry-After": "7"})), writing=True)
        outcome: Outcome
        (outcome,) = bench.write(self.case.create(1))
        assert isinstance(outcome, Temporary)
        assert outcome.limited == (status == 429)
        assert outcome.delay in (7.0, None)
