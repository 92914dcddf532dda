# mypy: ignore-errors
"""A Django site with django-scim2: `python django_site.py PORT FOLDER`, in an environment of its own."""

import sys
from pathlib import Path
from socketserver import ThreadingMixIn
from types import SimpleNamespace
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

PORT, FOLDER = int(sys.argv[1]), Path(sys.argv[2])
TOKEN = "foreign-token"


class Bearer:
    """Whoever has the token is signed in; the library leaves this to the site."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        right = request.META.get("HTTP_AUTHORIZATION") == f"Bearer {TOKEN}"
        request.user = SimpleNamespace(is_anonymous=not right, is_authenticated=right)
        return self.get_response(request)


class Handler(WSGIRequestHandler):
    """Keeps quiet."""

    def log_message(self, *_):
        """Says nothing."""


class Server(ThreadingMixIn, WSGIServer):
    """Serves several requests at once."""

    daemon_threads = True


settings.configure(
    SECRET_KEY="foreign",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_scim", "people"],
    AUTH_USER_MODEL="people.Person",
    MIDDLEWARE=[f"{__name__}.Bearer", "django_scim.middleware.SCIMAuthCheckMiddleware"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": FOLDER / "site.sqlite3",
            "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE"},
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    SCIM_SERVICE_PROVIDER={
        "NETLOC": f"127.0.0.1:{PORT}",
        "SCHEME": "http",
        "AUTHENTICATION_SCHEMES": [{"type": "oauthbearertoken", "name": "token", "description": "a token"}],
        "GROUP_MODEL": "people.models.Team",
    },
)
django.setup()
urlpatterns = [path("scim/v2/", include("django_scim.urls"))]

if __name__ == "__main__":
    call_command("migrate", run_syncdb=True, verbosity=0)
    with make_server("127.0.0.1", PORT, get_wsgi_application(), server_class=Server, handler_class=Handler) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.server_port}/scim/v2\n")
        sys.stdout.flush()
        server.serve_forever()
