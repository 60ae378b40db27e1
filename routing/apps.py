from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "routing"

    def ready(self) -> None:
        from costs.reports.counterfactual import register_replay
        from modelhub.services.inspection import register
        from modelhub.tasks import RECIPES
        from routing.services.earlier_policy import replay
        from routing.services.training import RowInspector

        register_replay(replay)
        register(RowInspector())
        RECIPES["what_if"] = "routing.whatif.job"
