"""The pages process: Django behind the gateway's front, ready before the first request. `manage.py serve_pages` runs it."""

import importlib
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")

from django.conf import settings
from django.core.asgi import get_asgi_application

for database in settings.DATABASES.values():
    database["CONN_MAX_AGE"] = 0  # as in asgi.py: each request has a thread of its own

django_application = get_asgi_application()
importlib.import_module(settings.ROOT_URLCONF)  # else the first reader waits a second for it

from switchyard.gateway.pages_headers import front_token  # noqa: E402
from switchyard.gateway.pages_server import PagesFront  # noqa: E402

application = PagesFront(django_application, front_token(settings.SECRET_KEY))
