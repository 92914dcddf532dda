"""A target's expressions, parsed and checked against the roster's columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from provisioner.errors import ConfigurationError
from provisioner.expressions import Expression, compile_expression
from provisioner.planning.external_knowledge import KnowledgeRule, compile_rules
from provisioner.planning.spec import TargetSpec
from provisioner.settings.leaver import steps_of


@dataclass(frozen=True, slots=True)
class CompiledTarget:
    """A target's expressions, checked: `scope`, `protect`, one per attribute, and the leaver's overlay.

    `choices` are the candidates of each attribute of which the first free one is taken.
    """

    scope: Expression
    protect: Expression
    attributes: Mapping[str, Expression]
    leaver: Mapping[str, Expression]
    #: The further steps of `leaver`, with the days after the day of leaving.
    later: tuple[tuple[int, Mapping[str, Expression]], ...] = ()
    enrolments: tuple[tuple[str, int | None, Expression], ...] = ()
    knowledge: tuple[KnowledgeRule, ...] = ()
    choices: Mapping[str, tuple[Expression, ...]] = field(default_factory=dict)

    @property
    def columns(self) -> frozenset[str]:
        """The roster's columns that the mapping needs."""
        expressions = [self.scope, *self.attributes.values(), *self.leaver.values()]
        expressions += [one for _, rules in self.later for one in rules.values()]
        expressions += [one for several in self.choices.values() for one in several]
        expressions += [when for _, _, when in self.enrolments]
        expressions += [one for rule in self.knowledge for one in (rule.when, *rule.fields.values())]
        return frozenset().union(*(expression.columns for expression in expressions))


def compile_target(spec: TargetSpec, columns: Collection[str] | None) -> CompiledTarget:
    """Check all expressions of a target against the roster's real columns (or only their form if None).

    Raises:
        ConfigurationError: one is wrong; the message names its setting and the columns there are.
    """
    settings, where = spec.settings, f"targets.{spec.name}"
    enrolments = tuple(
        (
            rule.code,
            rule.due_in_days,
            compile_expression(
                rule.when, columns, where=f"{where}.enrolments[{index}].when", predicate=True, zone=spec.zone
            ),
        )
        for index, rule in enumerate(spec.enrolments)
    )
    steps = steps_of(settings.leaver)
    leaver = [
        {
            name: compile_expression(rule.from_, columns, where=f"{where}.{path}.{name}", zone=spec.zone)
            for name, rule in step.rules.items()
        }
        for path, step in zip(paths_of_steps(len(steps)), steps, strict=True)
    ]
    return CompiledTarget(
        scope=compile_expression(settings.scope, columns, where=f"{where}.scope", predicate=True, zone=spec.zone),
        protect=compile_expression(settings.protect, None, where=f"{where}.protect", predicate=True, zone=spec.zone),
        attributes={
            name: compile_expression(rule.from_, columns, where=f"{where}.attributes.{name}", zone=spec.zone)
            for name, rule in settings.attributes.items()
        },
        leaver=leaver[0],
        later=tuple((step.after, rules) for step, rules in zip(steps[1:], leaver[1:], strict=True)),
        enrolments=enrolments,
        knowledge=tuple(
            compile_rules(spec.knowledge_rules, columns, where=f"{where}.external_knowledge", zone=spec.zone)
        ),
        choices={
            name: tuple(
                compile_expression(
                    text, columns, where=f"{where}.attributes.{name}.first_free[{place}]", zone=spec.zone
                )
                for place, text in enumerate(rule.first_free)
            )
            for name, rule in settings.attributes.items()
            if rule.first_free
        },
    )


def paths_of_steps(steps: int) -> list[str]:
    """Of each step of `leaver` the setting's path."""
    return ["leaver"] if steps == 1 else [f"leaver[{place}]" for place in range(steps)]


def faults_of(spec: TargetSpec) -> list[ConfigurationError]:
    """Every expression of a target that is wrong by itself, whatever columns the roster has."""
    settings, where = spec.settings, f"targets.{spec.name}"
    asked = [(settings.scope, f"{where}.scope", True), (settings.protect, f"{where}.protect", True)]
    asked += [
        (rule.from_, f"{where}.attributes.{name}", False)
        for name, rule in settings.attributes.items()
        if not rule.first_free
    ]
    asked += [
        (text, f"{where}.attributes.{name}.first_free[{place}]", False)
        for name, rule in settings.attributes.items()
        for place, text in enumerate(rule.first_free)
    ]
    steps = steps_of(settings.leaver)
    asked += [
        (rule.from_, f"{where}.{path}.{name}", False)
        for path, step in zip(paths_of_steps(len(steps)), steps, strict=True)
        for name, rule in step.rules.items()
    ]
    asked += [(rule.when, f"{where}.enrolments[{index}].when", True) for index, rule in enumerate(spec.enrolments)]
    for index, entry in enumerate(spec.knowledge_rules):
        path = f"{where}.external_knowledge[{index}]"
        asked += [(text, f"{path}.{name}", name == "when") for name, text in entry.items()]
    return wrong_ones(asked, zone=spec.zone)


def wrong_ones(asked: Iterable[tuple[str, str, bool]], *, zone: ZoneInfo) -> list[ConfigurationError]:
    """The error of each expression that is wrong.

    Args:
        asked: the text of each, its path in the settings, and whether it is a predicate.
    """
    found: list[ConfigurationError] = []
    for text, path, predicate in asked:
        try:
            compile_expression(text, None, where=path, predicate=predicate, zone=zone)
        except ConfigurationError as exc:
            found.append(exc)
    return found


def candidate_columns(name: str, count: int) -> list[str]:
    """The columns of a desired frame with the candidates of an attribute that is chosen by `first_free`, in order."""
    return [f"c:{name}:{place}" for place in range(count)]


def check_overlay(spec: TargetSpec) -> None:
    """Check that what `leaver` writes can be written, and that identifiers stay out of it.

    Raises:
        ConfigurationError: an attribute of `leaver` is an identifier or read-only.
    """
    for name in spec.settings.leaver:
        attribute = spec.attributes[name]
        if attribute.identifier or attribute.read_only or not attribute.on_update:
            raise ConfigurationError(
                f"targets.{spec.name}.leaver.{name}: this attribute cannot be changed once an account exists."
            )
