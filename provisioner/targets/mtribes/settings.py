"""The settings of a target of kind `mtribes`."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, SecretStr, model_validator

from provisioner.settings.targets import Section, TargetSettings


class MtribesPaths(Section):
    """Paths of the assumed mtribes contract; {api_version}, {space_id} and {tribe_id} are filled in."""

    users: str = "/{api_version}/spaces/{space_id}/users"
    ingest: str = "/{api_version}/spaces/{space_id}/users"
    tribes: str = "/{api_version}/spaces/{space_id}/tribes"
    tribe_users: str = "/{api_version}/spaces/{space_id}/tribes/{tribe_id}/users"
    orgs: str = "/{api_version}/orgs"
    spaces: str = "/{api_version}/orgs/{org_id}/spaces"


class MtribesSettings(TargetSettings):
    """mtribes, personalisation, Platform API v1.0 (partly assumed, so everything about it can be set)."""

    default_base_url: ClassVar[str | None] = "https://api.mtribes.com"
    credentials: ClassVar[tuple[str, ...]] = ("access_token", "space_id")
    same_account: ClassVar[tuple[str, ...]] = ("space_id",)

    access_token: SecretStr | None = Field(None, description="Personal access token.")
    space_id: str | None = Field(None, description="UUID of the Space; `check --connect` lists them.")
    environment: str | None = Field(None, description="Environment key for the v2 form of the paths.")
    api_version: str = Field("v1.0", description="Version segment of the paths.")
    auth_scheme: str = Field("Bearer", description="Word before the token in the Authorization header; may be empty.")
    paths: MtribesPaths = Field(default_factory=MtribesPaths, description="Paths, should the assumed ones be wrong.")
    envelope: str | None = Field("users", description="Key of the list in an ingest; null: one bare object, batch 1.")
    page_param: str = Field("page", description="Query parameter of the page number.")
    page_size_param: str = Field("page_size", description="Query parameter of the page size.")

    fields: dict[str, str] = Field(
        default_factory=dict,
        description="Attribute: where a listed user shows it, dots between levels, such as tags: tags.name.",
    )
    ignore: tuple[str, ...] = Field(
        (), description="Keys besides a list that say nothing of its pages, though they look like it."
    )

    @model_validator(mode="before")
    @classmethod
    def _bare_objects_go_alone(cls, value: Any) -> Any:
        if isinstance(value, dict) and "envelope" in value and value["envelope"] is None:
            return {**value, "batch_size": 1}
        return value
