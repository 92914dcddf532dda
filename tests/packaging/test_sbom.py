"""What `make dist` says that the program is made of: by CycloneDX' own schema, and against the pins."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
from cyclonedx.schema import _res as schemas
from referencing import Registry, Resource

from tests.support.pins import ROOT, read_pins, this_environment

SCRIPT: Final = ROOT / "scripts" / "sbom.py"
_SCHEMAS: Final = Path(schemas.__file__).parent


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The document, and the rows of the list of licences."""
    folder = tmp_path_factory.mktemp("sbom")
    command = [sys.executable, str(SCRIPT), str(folder), "1796000000"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    bill, licences = map(Path, said.split())
    again = tmp_path_factory.mktemp("again")
    subprocess.run([*command[:2], str(again), command[3]], check=True, capture_output=True)
    assert (again / bill.name).read_bytes() == bill.read_bytes()
    return json.loads(bill.read_text("utf-8")), list(csv.DictReader(io.StringIO(licences.read_text("utf-8"))))


def test_the_schema_of_cyclonedx_accepts_it(made: tuple[dict[str, Any], list[dict[str, str]]]) -> None:
    named = {
        name: Resource.from_contents(
            json.loads((_SCHEMAS / f"{name.removesuffix('.schema.json')}.SNAPSHOT.schema.json").read_text("utf-8"))
        )
        for name in ("spdx.schema.json", "jsf-0.82.schema.json", "bom-1.6.schema.json")
    }
    base = "http://cyclonedx.org/schema/"
    registry: Registry[Any] = Registry().with_resources([(base + name, one) for name, one in named.items()])
    schema = named["bom-1.6.schema.json"].contents
    validator = jsonschema.Draft7Validator(schema, registry=registry)
    assert [one.message for one in validator.iter_errors(made[0])] == []
    wrong = {**made[0], "components": [{"type": "nonsense"}]}
    assert not validator.is_valid(wrong)


def test_it_names_what_is_pinned_for_this_machine(made: tuple[dict[str, Any], list[dict[str, str]]]) -> None:
    bill, licences = made
    pinned = {one.name: one.version for one in read_pins(ROOT / "requirements.txt") if one.applies(this_environment())}
    # Only builds it
    del pinned["setuptools"]
    assert {one["name"]: one["version"] for one in bill["components"]} == pinned
    assert {one["package"]: one["version"] for one in licences} == pinned
    files = (ROOT / "requirements.txt").read_text("utf-8")
    for one in bill["components"]:
        hashes = [hash_["content"] for link in one["externalReferences"] for hash_ in link.get("hashes", ())]
        assert hashes
        assert all(f"--hash=sha256:{text}" in files for text in hashes)


def test_every_package_has_a_licence_and_all_are_reached(made: tuple[dict[str, Any], list[dict[str, str]]]) -> None:
    bill, licences = made
    assert [one["package"] for one in licences if one["licence"] == "not named by the package"] == []
    # What it says of itself is an SPDX expression for most; "BSD License" is more than one
    assert {one["licence"] for one in licences if one["spdx"] == "no"} <= {"BSD License"}
    needs = {one["ref"]: one["dependsOn"] for one in bill["dependencies"]}
    reached, waiting = set[str](), [bill["metadata"]["component"]["bom-ref"]]
    while waiting:
        if (one := waiting.pop()) not in reached:
            reached.add(one)
            waiting += needs[one]
    assert reached == set(needs)


@pytest.mark.parametrize("words", [["--check"], ["--help"], ["dist", "more"]])
def test_an_option_that_there_is_not_writes_nothing(words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "make_dist.py"), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if words == ["--help"] else 2)
    assert "usage" in (done.stdout + done.stderr).lower()
    assert list(tmp_path.iterdir()) == []
