"""Stand-in of a SCIM 2.0 service: users, groups and discovery, as RFC 7643, 7644 and 9865 say.

Bearer token, or one from `/oauth/token` (client `sandbox-client`). What the RFCs leave open was decided so that a
careless client fails: unknown attributes are refused, a PUT clears what it leaves out, a path that finds nothing is no
target, text ignores case where the RFC says so, `/Me`, sorting and DELETE are not served.
"""

from provisioner.sandbox.scim.options import ScimOptions
from provisioner.sandbox.scim.service import SCIM_CLIENT, SCIM_SECRET, SCIM_TOKEN, Scim

__all__ = ["SCIM_CLIENT", "SCIM_SECRET", "SCIM_TOKEN", "Scim", "ScimOptions"]
