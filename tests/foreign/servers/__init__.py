"""SCIM services that others wrote, started as processes of environments of their own."""
