from django.apps import AppConfig


class ModelhubConfig(AppConfig):
    name = "modelhub"

    def ready(self) -> None:
        from costs.reports.savings import register_teachers
        from modelhub.selectors.teachers import teacher_costs

        register_teachers(teacher_costs)
