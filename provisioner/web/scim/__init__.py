"""SCIM 2.0 as a source: people that an identity provider or HR system pushes one by one to ``/scim/v2``."""
