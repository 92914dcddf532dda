"""What a distribution is made of: a CycloneDX document, and a list of licences, of the pins in requirements.txt.

Both are read from the pins and from the metadata of the packages that are installed here, so nothing is downloaded. Of
the pins only those count that the program itself needs here, not what only builds it.

scripts/sbom.py FOLDER EPOCH      EPOCH: when the sources were written, in seconds
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parent.parent
_PRODUCT: Final = "provisioner"
_PIN: Final = re.compile(r"(?P<requirement>[A-Za-z0-9][^\\]*?)(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)")
#: What package indexes call a licence, and its SPDX id. "BSD License" and the like are more than one licence.
_SPDX: Final = {
    "Apache Software License": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "3-Clause BSD License": "BSD-3-Clause",
    "New BSD": "BSD-3-Clause",
}
_CLASSIFIER: Final = "License :: OSI Approved :: "
_LONGEST_NAME: Final = 60


@dataclass(frozen=True, slots=True)
class Component:
    """One package: its pin, its licence (an SPDX expression where `spdx`, else a name) and what it needs here."""

    name: str
    version: str
    hashes: tuple[str, ...]
    licence: str
    spdx: bool
    summary: str
    homepage: str
    needs: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Its address as a package of PyPI (https://github.com/package-url/purl-spec)."""
        return f"pkg:pypi/{self.name}@{self.version}"


def components(pins: Path = ROOT / "requirements.txt") -> list[Component]:
    """The packages that the program needs here, by name.

    Raises:
        ValueError: one of them is not pinned, or another version than the pinned one is installed.
    """
    pinned = {name: (version, hashes) for name, version, hashes in _pins(pins)}
    found: dict[str, Component] = {}
    waiting = list(_needs(distribution(_PRODUCT), frozenset()))
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name not in pinned:
            raise ValueError(f"{name} is needed, and {pins.name} does not pin it. Run make pins.")
        version, hashes = pinned[name]
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            raise ValueError(f"{name} is not installed. Run make.") from None
        if installed.version != version:
            raise ValueError(f"{name} {installed.version} is installed, and {version} is pinned. Run make.")
        needs = list(_needs(installed, extras))
        waiting += needs
        licence, spdx = _licence(installed)
        before = found[name].needs if name in found else ()
        found[name] = Component(
            name, version, hashes, licence, spdx, installed.metadata["Summary"] or "", _homepage(installed),
            tuple(sorted({*before, *(one for one, _ in needs)})),
        )  # fmt: skip
    return [found[name] for name in sorted(found)]


def _pins(path: Path) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines():
        if (found := _PIN.fullmatch(line)) is not None:
            wanted = Requirement(found["requirement"])
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                (only,) = wanted.specifier
                hashes = tuple(found["hashes"].split())
                yield canonicalize_name(wanted.name), only.version, tuple(one.partition(":")[2] for one in hashes)


def _needs(installed: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for text in installed.requires or ():
        wanted = Requirement(text)
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": one}) for one in ("", *sorted(extras))):
            yield canonicalize_name(wanted.name), frozenset(wanted.extras)


def _licence(installed: Distribution) -> tuple[str, bool]:
    """The licence, and whether it is an SPDX expression: what the package says itself, else its classifiers."""
    metadata = installed.metadata
    classifiers = [
        one.removeprefix(_CLASSIFIER) for one in metadata.get_all("Classifier") or () if one.startswith(_CLASSIFIER)
    ]
    text = (metadata["License"] or "").strip()
    told = [metadata["License-Expression"] or "", text if "\n" not in text else ""]
    for one in (*told, " OR ".join(_SPDX.get(name, name) for name in classifiers)):
        if one and (expression := _expression(_SPDX.get(one, one))):
            return expression, True
    names = [one for one in (*classifiers, *told) if one and len(one) <= _LONGEST_NAME and one != "UNKNOWN"]
    return (names[0] if names else "not named by the package"), False


def _expression(text: str) -> str:
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return ""


def _homepage(installed: Distribution) -> str:
    addresses = dict(one.split(", ", 1) for one in installed.metadata.get_all("Project-URL") or () if ", " in one)
    known = {name.casefold(): address for name, address in addresses.items()}
    names = ("homepage", "source", "source code", "repository", "documentation")
    found = [installed.metadata["Home-page"] or "", *(known.get(name, "") for name in names)]
    return next((one for one in found if one.startswith("http")), "")


def bill(parts: Sequence[Component], version: str, moment: int) -> dict[str, Any]:
    """The CycloneDX document (https://cyclonedx.org/docs/1.6/json/); the same for the same pins and moment.

    Args:
        moment: when the sources were written, in epoch seconds.
    """
    product = f"pkg:pypi/{_PRODUCT}@{version}"
    own = distribution(_PRODUCT)
    named = {one.name: one.purl for one in parts}
    direct = {name for name, _ in _needs(own, frozenset())}
    content = {
        "metadata": {
            "timestamp": datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": product,
                "name": _PRODUCT,
                "version": version,
                "purl": product,
                "licenses": [{"expression": own.metadata["License-Expression"]}],
            },
        },
        "components": [_shown(one) for one in parts],
        "dependencies": [
            {"ref": product, "dependsOn": sorted(named[name] for name in direct)},
            *({"ref": one.purl, "dependsOn": sorted(named[name] for name in one.needs)} for one in parts),
        ],
    }
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{number}", "version": 1}
    return {**head, **content}


def _shown(one: Component) -> dict[str, Any]:
    licence = {"expression": one.licence} if one.spdx else {"license": {"name": one.licence}}
    shown: dict[str, Any] = {
        "type": "library",
        "bom-ref": one.purl,
        "name": one.name,
        "version": one.version,
        "description": one.summary,
        "licenses": [licence],
        "purl": one.purl,
    }
    references: list[dict[str, Any]] = []
    if one.homepage:
        references.append({"type": "website", "url": one.homepage})
    # A package has a hash for each of its files; a component would have one
    references.append(
        {
            "type": "distribution",
            "url": one.purl,
            "hashes": [{"alg": "SHA-256", "content": text} for text in one.hashes],
        }
    )
    return {**shown, "externalReferences": references}


def licences(parts: Iterable[Component]) -> str:
    """The list of licences as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("package", "version", "licence", "spdx", "homepage"))
    for one in parts:
        writer.writerow((one.name, one.version, one.licence, "yes" if one.spdx else "no", one.homepage))
    return text.getvalue()


def main() -> int:
    """Write both files, and name them."""
    parser = argparse.ArgumentParser(description="Write what a distribution is made of.")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("epoch", type=int, metavar="EPOCH", help="when the sources were written, in seconds")
    given = parser.parse_args()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    try:
        parts = components()
    except ValueError as exc:
        sys.exit(str(exc))
    document = json.dumps(bill(parts, version, given.epoch), indent=1, ensure_ascii=False)
    for ending, text in ((".cdx.json", f"{document}\n"), ("-licences.csv", licences(parts))):
        path = given.folder / f"{_PRODUCT}-{version}{ending}"
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
