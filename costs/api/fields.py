"""Money at the edge, as the other resources show it."""

from switchyard.tenancy.api.fields import UsdField

__all__ = ["UsdField"]
