# mypy: ignore-errors
"""Users and groups as django-scim2's documentation has them."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django_scim.models import AbstractSCIMGroupMixin, AbstractSCIMUserMixin


class Team(AbstractSCIMGroupMixin):
    """A group."""

    name = models.CharField(max_length=150, unique=True)


class Person(AbstractSCIMUserMixin, AbstractUser):
    """A user."""

    groups = models.ManyToManyField(Team, related_name="user_set", blank=True)

    @property
    def scim_groups(self):
        """The groups of this user."""
        return self.groups
