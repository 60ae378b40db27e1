"""One machine, plain http, the published development secret."""

from switchyard.settings.base import *  # noqa: F403
