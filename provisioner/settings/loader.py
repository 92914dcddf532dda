"""Reading the settings: environment over secret files over YAML, and one readable error for whatever is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from provisioner.errors import ConfigurationError
from provisioner.settings.nearest import nearest
from provisioner.settings.root import Settings

DEFAULT_CONFIG = Path("config/provisioner.yaml")
_PREFIX = "PROVISIONER_"
#: Variables of ours that are no settings: where those are, and how the commands speak.
_CONTROL = {"CONFIG", "SECRETS_DIR", "DEBUG", "LOG_FORMAT"}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `load` found: the settings, the file they came from, and what it noticed but let pass."""

    settings: Settings
    config: Path | None
    warnings: tuple[str, ...]


class _DictSource(PydanticBaseSettingsSource):
    """A source whose values are already read."""

    def __init__(self, settings_cls: type[BaseSettings], values: Mapping[str, Any]) -> None:
        super().__init__(settings_cls)
        self._values = dict(values)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the signature is pydantic-settings'
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._values


def load(config: Path | str | None = None, *, environ: Mapping[str, str] | None = None) -> Loaded:
    """Read all settings.

    Args:
        config: the YAML file; none: ``PROVISIONER_CONFIG``, else ``config/provisioner.yaml`` if it is there.
        environ: the environment; none: the process's own.

    Raises:
        ConfigurationError: a file is missing or unreadable, a key is unknown, or a value is wrong; the message
            names every fault found, one a line.
    """
    environment = os.environ if environ is None else environ
    path = _config_path(config, environment)
    warnings = _check_variables(environment)
    document = _read_yaml(path) if path else {}
    secrets = _read_secrets(environment.get(f"{_PREFIX}SECRETS_DIR"))
    variables = _read_variables(environment)

    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic-settings'
            env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return tuple(_DictSource(settings_cls, values) for values in (variables, secrets, document))

    try:
        settings = Sourced()
    except ValidationError as exc:
        lines = "\n".join(f"  {line}" for line in _explain(exc))
        where = str(path) if path else "the environment"
        raise ConfigurationError(f"The settings ({where}) are wrong:\n{lines}") from None
    return Loaded(settings, path, tuple(warnings))


def _config_path(config: Path | str | None, environ: Mapping[str, str]) -> Path | None:
    named = config or environ.get(f"{_PREFIX}CONFIG")
    path = Path(named) if named else DEFAULT_CONFIG
    if path.is_file():
        return path
    if named:
        what = "is a folder" if path.is_dir() else "does not exist"
        remedy = (
            f"Name an existing file with --config; a relative path begins in {Path.cwd()}."
            if config
            else f"Set {_PREFIX}CONFIG to an existing file, or name one with --config."
        )
        raise ConfigurationError(f"The settings file {str(path)!r} {what}.", remedy=remedy)
    return None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = _PUSHED_PEOPLE.sub(r'\1"scim:"\2', path.read_text(encoding="utf-8-sig"))
        document = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - it is a SafeLoader
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"The settings file {str(path)!r} cannot be read: {exc}.") from exc
    except yaml.YAMLError as exc:
        raise ConfigurationError(f"The settings file {str(path)!r} is no YAML: {_problem(exc)}.") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError(f"The settings file {str(path)!r} must hold a mapping of settings.")
    return document


#: A value that ends with a colon needs quotes, which hardly anybody thinks of.
_PUSHED_PEOPLE: Final = re.compile(r"^(\s*url:[ \t]+)scim:([ \t]*(?:#.*)?)$", re.MULTILINE)


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key given twice is an error, and only true and false are booleans.

    A second key would silently win; and YAML 1.1 takes `on` (a key of ours), `no` (Norway) and `yes` for booleans.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _mapping_without_repeats(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is there twice", key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_repeats)


def _problem(exc: yaml.YAMLError) -> str:
    """What is wrong and where; the line itself, which the error quotes, may hold a secret."""
    mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
    what = getattr(exc, "problem", None) or getattr(exc, "context", None) or "it cannot be read"
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark else str(what)


def _nest(values: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Turn ``a__b: v`` into ``{a: {b: v}}``; JSON objects and lists are read as such in place."""
    nested: dict[str, Any] = {}
    for name, text in values:
        *parents, leaf = name.lower().split("__")
        level = nested
        for parent in parents:
            step = level.setdefault(parent, {})
            if not isinstance(step, dict):
                step = level[parent] = {}
            level = step
        value = _maybe_structure(text)
        level[leaf] = (
            {**level[leaf], **value} if isinstance(value, dict) and isinstance(level.get(leaf), dict) else value
        )
    return nested


def _maybe_structure(text: str) -> Any:
    stripped = text.strip()
    if stripped[:1] in "[{" and stripped:
        try:
            return yaml.safe_load(stripped)
        except yaml.YAMLError:
            return text
    return None if stripped == "null" else text


def _read_variables(environ: Mapping[str, str]) -> dict[str, Any]:
    known = set(Settings.model_fields)
    found = []
    for name, value in sorted(environ.items()):
        rest = name.upper().removeprefix(_PREFIX)
        if name.upper().startswith(_PREFIX) and rest not in _CONTROL and rest.lower().split("__")[0] in known:
            found.append((rest, value))
    return _nest(found)


def _check_variables(environ: Mapping[str, str]) -> list[str]:
    known = [field.upper() for field in Settings.model_fields]
    warnings = []
    for name in sorted(environ):
        rest = name.upper().removeprefix(_PREFIX)
        if not name.upper().startswith(_PREFIX) or rest in _CONTROL or rest.split("__")[0] in known:
            continue
        hint = nearest(rest.split("__")[0], known)
        if "__" in rest:
            raise ConfigurationError(
                f"The environment variable {name} names no setting{hint}.", remedy="Correct or unset it."
            )
        warnings.append(f"The environment variable {name} names no setting{hint}; it is ignored.")
    return warnings


def _read_secrets(folder: str | None) -> dict[str, Any]:
    if not folder:
        return {}
    path = Path(folder)
    if not path.is_dir():
        raise ConfigurationError(
            f"The secrets folder {folder!r} does not exist.", remedy="Set PROVISIONER_SECRETS_DIR to a folder."
        )
    known = set(Settings.model_fields)
    found = []
    for file in sorted(path.iterdir()):
        # Kubernetes keeps its own dotted folders besides the mounted files
        if file.name.startswith(".") or not file.is_file():
            continue
        top = file.name.lower().split("__")[0]
        if top not in known and "__" not in file.name:
            continue
        try:
            found.append((file.name, file.read_text(encoding="utf-8").strip()))
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigurationError(f"The secret file {str(file)!r} cannot be read: {type(exc).__name__}.") from exc
    return _nest(found)


def _explain(exc: ValidationError) -> list[str]:
    lines = []
    for error in exc.errors(include_url=False, include_input=False):
        if error["type"] != "targets":
            lines.append(_line(error["loc"], error, Settings, depth=0))
            continue
        for name, fault, model in error["ctx"]["faults"]:
            if not isinstance(fault, ValidationError):
                lines.append(f"targets.{name}: {fault}")
                continue
            lines += [
                _line(("targets", name, *nested["loc"]), nested, model, depth=2)
                for nested in fault.errors(include_url=False, include_input=False)
            ]
    return lines


def _line(location: tuple[int | str, ...], error: Any, model: type[BaseModel], *, depth: int) -> str:
    shown = ".".join(str(part) for part in location) or "settings"
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, location[depth:-1])
        return f"{shown}: no such setting{nearest(str(location[-1]), known)}"
    if error["type"] == "missing":
        return f"{shown}: is missing"
    message = error["msg"].removeprefix("Value error, ")
    return f"{shown}: {message[:1].lower()}{message[1:]}" if not message[:2].isupper() else f"{shown}: {message}"


def _known_keys(model: type[BaseModel], path: Iterable[int | str]) -> list[str]:
    current: Any = model
    for part in path:
        current = _step(current, part)
    fields = getattr(current, "model_fields", {})
    return [field.alias or name for name, field in fields.items()]


def _step(model: Any, part: int | str) -> Any:
    fields = getattr(model, "model_fields", None)
    if fields is None:
        return model
    for name, field in fields.items():
        if part in (name, field.alias):
            return _first_model(field.annotation)
    return model


def _first_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _first_model(inner)
        if found is not None:
            return found
    return None
