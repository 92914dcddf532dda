"""Stand-ins of the four vendors and of a SCIM service, over real HTTP: what their texts forbid is refused.

    wire        a request, an answer, routes, checks        limits    the strict sliding window
    options     what can be set on an instance              faults    ordered wrong answers, delays, drops
    vendor      what every stand-in offers                  tribal_habits, habitate, traitly, mtribes, scim
    instance    a stand-in with its limiter, faults, log    app       the ASGI application
    switchboard `/_sandbox`, and its client in `client`     server    `serve`, `SandboxServer`

Each vendor is served under `/<kind>`, and under `/<kind>-<anything>` with a state of its own, made on first use.
Credentials, unless the option `api_key` sets another:

    tribal_habits  `Authorization: sandbox-tribal-habits-key`
    habitate       HTTP Basic, any username, password `sandbox-habitate-key`
    traitly        `Authorization: Token sandbox-traitly-token`
    mtribes        `Authorization: Bearer sandbox-mtribes-token`, Space `6f1d2c3b-0000-4000-8000-000000000001`
    scim           `Authorization: Bearer sandbox-scim-token`, or a token of `/oauth/token`

The package imports nothing of the rest of provisioner.
"""

from provisioner.sandbox.app import build_app
from provisioner.sandbox.client import Switchboard, SwitchboardError
from provisioner.sandbox.habitate import HABITATE_KEY, HabitateOptions
from provisioner.sandbox.instance import KINDS
from provisioner.sandbox.mtribes import MTRIBES_ORG_ID, MTRIBES_SPACE_ID, MTRIBES_TOKEN, MtribesOptions
from provisioner.sandbox.scim import SCIM_CLIENT, SCIM_SECRET, SCIM_TOKEN, ScimOptions
from provisioner.sandbox.server import DEFAULT_PORT, SandboxServer, serve
from provisioner.sandbox.traitly import TRAITLY_TOKEN, TraitlyOptions
from provisioner.sandbox.tribal_habits import TRIBAL_HABITS_KEY, TribalHabitsOptions

__all__ = [
    "DEFAULT_PORT",
    "HABITATE_KEY",
    "KINDS",
    "MTRIBES_ORG_ID",
    "MTRIBES_SPACE_ID",
    "MTRIBES_TOKEN",
    "SCIM_CLIENT",
    "SCIM_SECRET",
    "SCIM_TOKEN",
    "TRAITLY_TOKEN",
    "TRIBAL_HABITS_KEY",
    "HabitateOptions",
    "MtribesOptions",
    "SandboxServer",
    "ScimOptions",
    "Switchboard",
    "SwitchboardError",
    "TraitlyOptions",
    "TribalHabitsOptions",
    "build_app",
    "serve",
]
