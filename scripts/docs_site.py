"""What mkdocs is told besides mkdocs.yml: pages that lie outside docs/, and the decisions, however many there are.

Links in docs/ are written for whoever reads the sources, such as ``../deploy/runbook.md``; on the site that page lies
elsewhere, so they are rewritten.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.files import File, Files

ROOT: Final = Path(__file__).parents[1]
#: Path in the sources → path on the site.
OUTSIDE: Final = {
    "deploy/runbook.md": "runbook.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_LINK: Final = re.compile(r"\]\((?:\.\./)+(" + "|".join(re.escape(name) for name in OUTSIDE) + r")(#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """Add the pages of which there are more every month."""
    folder = Path(config["docs_dir"])
    decisions = [f"decisions/{path.name}" for path in sorted((folder / "decisions").glob("[0-9]*.md"))]
    config["nav"].append({"Decisions": ["decisions/README.md", *decisions]})
    listed = str(config["nav"])
    extra = [path.name for path in sorted(folder.glob("*.md")) if path.name not in listed]
    if extra:
        config["nav"].append({"More": extra})
    return config


def on_files(files: Files, *, config: Any) -> Files:
    """Take in the pages that lie outside."""
    for source, name in OUTSIDE.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001 - the signature is mkdocs'
    """Lead links to where those pages lie on the site."""
    up = "../" * page.file.src_uri.count("/")
    return _LINK.sub(lambda found: f"]({up}{OUTSIDE[found[1]]}{found[2] or ''})", markdown)
