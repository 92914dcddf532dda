"""The commands by name, each imported only when it is called.

A command's module brings what it works with: settings, Redis, polars, FastAPI. Nobody who asks for help or runs another
command waits for that.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final

import typer

#: Command → where its function is: module of this package, and name. In the order in which help lists them.
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "check": ("check", "check"),
    "test": ("mapping_tests", "run_mapping_tests"),
    "simulate": ("simulate", "simulate"),
    "plan": ("plans", "plan"),
    "sync": ("runs", "sync"),
    "pull": ("pulling", "pull"),
    "runs": ("runs", "list_runs"),
    "show": ("runs", "show"),
    "undo": ("undo", "undo"),
    "approve": ("decisions", "approve"),
    "reject": ("decisions", "reject"),
    "retry": ("decisions", "retry"),
    "why": ("inspect", "why"),
    "drift": ("inspect", "drift"),
    "todos": ("inspect", "todos"),
    "orphans": ("inspect", "orphans"),
    "link": ("linking", "link"),
    "unlink": ("linking", "unlink"),
    "rekey": ("rekeying", "rekey"),
    "access": ("access", "access"),
    "audit": ("inspect", "audit"),
    "export": ("inspect", "export"),
    "webhooks": ("webhooks", "webhooks"),
    "roster": ("roster", "roster"),
    "pause": ("decisions", "pause"),
    "resume": ("decisions", "resume"),
    "forget": ("maintenance", "forget"),
    "backup": ("maintenance", "backup"),
    "restore": ("maintenance", "restore"),
    "up": ("serve", "up"),
    "worker": ("serve", "worker"),
    "beat": ("serve", "beat"),
    "web": ("serve", "web"),
    "sandbox": ("serve", "sandbox"),
    "demo": ("serve", "demo"),
}


def function_of(name: str) -> Callable[..., int]:
    """A command's function, its module imported."""
    module, function = COMMANDS[name]
    found: Callable[..., int] = getattr(importlib.import_module(f"provisioner.cli.{module}"), function)
    return found


def summaries() -> dict[str, str]:
    """Command → the first line of its docstring, read from the sources without importing them."""
    documented: dict[str, dict[str, str]] = {}
    for module, _ in COMMANDS.values():
        if module not in documented:
            documented[module] = _first_lines(module)
    return {name: documented[module].get(function, "") for name, (module, function) in COMMANDS.items()}


def _first_lines(module: str) -> dict[str, str]:
    """Function of a module → the first line of its docstring; none where the sources are not there to read."""
    spec = importlib.util.find_spec(f"provisioner.cli.{module}")
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return {}
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    return {
        node.name: (ast.get_docstring(node) or "").partition("\n")[0]
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }


class CommandsByName(MutableMapping[str, Any]):
    """The commands as typer wants them, each made when it is first asked for. Values are typer's own commands."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}
        self._names = dict.fromkeys(COMMANDS)

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._made:
            alone = typer.Typer(
                add_completion=False,
                rich_markup_mode=None,
                pretty_exceptions_enable=False,
            )
            alone.command(name)(function_of(name))
            self._made[name] = typer.main.get_command(alone)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._names[name] = None
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._names[name]
        self._made.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names
