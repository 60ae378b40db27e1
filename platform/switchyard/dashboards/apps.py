from django.apps import AppConfig


class DashboardsConfig(AppConfig):
    name = "switchyard.dashboards"
    label = "dashboards"

    def ready(self) -> None:
        from switchyard.dashboards.admin_names import translate_names

        translate_names()
