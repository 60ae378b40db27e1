from django.apps import AppConfig


class DashboardsConfig(AppConfig):
    name = "switchyard.dashboards"
    label = "dashboards"
