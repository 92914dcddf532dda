# mypy: ignore-errors
"""Canaille with its people in memory: `python canaille_site.py PORT`, in an environment of its own."""

import datetime as dt
import logging
import sys

from canaille import create_app
from canaille.app import models
from werkzeug.serving import make_server

PORT = int(sys.argv[1])
TOKEN = "foreign-token"
SCOPE = ["openid"]

app = create_app(
    {
        "SECRET_KEY": "foreign",
        "PREFERRED_URL_SCHEME": "http",
        "CANAILLE": {"DATABASE": "memory", "LOGGING": {"version": 1, "disable_existing_loggers": True}},
        "CANAILLE_OIDC": {},
        "CANAILLE_SCIM": {"ENABLE_SERVER": True},
    }
)
logging.getLogger("werkzeug").setLevel(logging.ERROR)
with app.app_context():
    from canaille.backends import Backend

    now = dt.datetime.now(dt.UTC)
    client = models.Client(client_id="provisioner", client_name="provisioner", client_secret="foreign", scope=SCOPE)
    Backend.instance.save(client)
    token = models.Token(
        token_id="foreign",
        access_token=TOKEN,
        client=client,
        subject=None,
        issue_date=now,
        lifetime=86_400,
        scope=SCOPE,
    )
    Backend.instance.save(token)
server = make_server("127.0.0.1", PORT, app, threaded=True)
sys.stdout.write(f"http://127.0.0.1:{PORT}/scim/v2\n")
sys.stdout.flush()
server.serve_forever()
