"""One ASGI application: the gateway takes /v1/*, Django everything else."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")

from django.conf import settings
from django.core.asgi import get_asgi_application

# Under ASGI each request has a thread of its own: a connection kept for the next request is never found again, and sixty
# pages a minute exhaust PostgreSQL.
for database in settings.DATABASES.values():
    database["CONN_MAX_AGE"] = 0

django_application = get_asgi_application()

from switchyard.gateway.front import GatewayFront  # noqa: E402

application = GatewayFront(django_application)
