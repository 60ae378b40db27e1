"""One ASGI application: the gateway takes /v1/*, Django everything else."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from switchyard.gateway.front import GatewayFront  # noqa: E402

application = GatewayFront(django_application)
