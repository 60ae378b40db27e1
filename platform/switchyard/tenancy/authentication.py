"""Bearer tokens of /api/v1. Keys of /v1 are refused here, as tokens are refused there."""

from typing import Any

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed

from switchyard.core.clock import now
from switchyard.core.crypto import keyed_digest
from switchyard.tenancy.models import AccessToken


class TokenAuthentication(BaseAuthentication):
    def authenticate(self, request: Any) -> tuple[Any, AccessToken] | None:
        parts = get_authorization_header(request).decode("latin-1").split()
        if not parts or parts[0].lower() != "bearer":
            return None
        if len(parts) != 2:
            raise AuthenticationFailed("Write the header as `Authorization: Bearer <token>`.")
        if parts[1].startswith("sy_"):
            raise AuthenticationFailed(
                "This is a key of /v1. /api/v1 takes the token of a person or service account."
            )
        token = AccessToken.objects.select_related("user").filter(digest=keyed_digest(parts[1])).first()
        if token is None or token.revoked_at or (token.expires_at and token.expires_at <= now()):
            raise AuthenticationFailed("The token is unknown, expired or revoked.")
        if not token.user.is_active:
            raise AuthenticationFailed("The account of this token is not active.")
        return token.user, token

    def authenticate_header(self, request: Any) -> str:
        return "Bearer"
