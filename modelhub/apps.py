from django.apps import AppConfig


class ModelhubConfig(AppConfig):
    name = "modelhub"

    def ready(self) -> None:
        from costs.reports.savings import register_teachers
        from modelhub.selectors.teachers import teacher_costs
        from modelhub.services.datasets import also_judged_by
        from modelhub.services.judged_texts import golden_texts

        register_teachers(teacher_costs)
        also_judged_by(golden_texts)
