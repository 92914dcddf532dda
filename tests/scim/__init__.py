"""People that are pushed one by one over SCIM, and webhooks that name changed people."""
