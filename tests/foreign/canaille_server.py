"""Canaille, an OpenID provider, with three people and one client; run by the Python of its own environment.

::

    python canaille_server.py PORT REDIRECT_URI POST_LOGOUT_URI
"""

from __future__ import annotations

import sys
import uuid
from wsgiref.simple_server import WSGIRequestHandler, make_server

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from joserfc.jwk import JWKRegistry

CLIENT = ("provisioner", "a-client-secret-of-the-tests")
PASSWORD = "a-password-of-the-tests"
#: User name: groups.
PEOPLE = {"ada": ("staff", "access-admins"), "vera": ("staff",), "nora": ("visitors",)}


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def main(port: int, redirect_uri: str, post_logout_uri: str) -> None:
    """Serve until the process is ended."""
    key = JWKRegistry.generate_key("RSA", 2048)
    key.ensure_kid()
    app = create_app(
        config={
            "SECRET_KEY": str(uuid.uuid4()),
            "PREFERRED_URL_SCHEME": "http",
            "SERVER_NAME": f"localhost:{port}",
            "CANAILLE": {
                "DATABASE": "memory",
                "JAVASCRIPT": False,
                "ACL": {"DEFAULT": {"PERMISSIONS": ["use_oidc"]}},
                "LOGGING": {"version": 1, "disable_existing_loggers": False},
            },
            "CANAILLE_OIDC": {"ACTIVE_JWKS": [key.as_dict(private=True)]},
        }
    )
    backend = Backend.instance
    with app.app_context():
        users = {}
        for name in PEOPLE:
            users[name] = models.User(
                user_name=name, given_name=name.title(), family_name="Byron", emails=[f"{name}@example.com"]
            )
            users[name].formatted_name = f"{name.title()} Byron"
            backend.save(users[name])
            backend.set_user_password(users[name], PASSWORD)
        for group in {one for groups in PEOPLE.values() for one in groups}:
            members = [users[name] for name, groups in PEOPLE.items() if group in groups]
            backend.save(models.Group(display_name=group, members=members))
        client = models.Client(
            client_id=CLIENT[0],
            client_secret=CLIENT[1],
            client_name="provisioner",
            client_uri="http://127.0.0.1",
            redirect_uris=[redirect_uri],
            post_logout_redirect_uris=[post_logout_uri],
            grant_types=["authorization_code"],
            response_types=["code"],
            scope=["openid", "groups", "profile", "email"],
            token_endpoint_auth_method="client_secret_basic",
        )
        backend.save(client)
        client.audience = [client]
        backend.save(client)
    make_server("localhost", port, app, handler_class=_Quiet).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
