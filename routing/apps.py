from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "routing"

    def ready(self) -> None:
        from costs.reports.counterfactual import register_replay
        from routing.services.earlier_policy import replay

        register_replay(replay)
