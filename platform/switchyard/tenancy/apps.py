from django.apps import AppConfig


class TenancyConfig(AppConfig):
    name = "switchyard.tenancy"
    label = "tenancy"
