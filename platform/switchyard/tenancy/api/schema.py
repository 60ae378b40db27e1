"""What the OpenAPI generator can't guess of ours."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class BearerTokens(OpenApiAuthenticationExtension):
    target_class = "switchyard.tenancy.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "The token of a person or a service account; keys of /v1 are refused here.",
        }
