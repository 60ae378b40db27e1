"""The products and stores of the seeded retail generator, and where their price sensitivity comes from.

Nothing here is copied from a data set: prices, costs and volumes are invented; the own-price elasticities are
set inside the ranges that the literature reports for these goods.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCES = {
    "orange-juice": (
        "Brand-level own-price elasticities of refrigerated orange juice at a supermarket chain, about -1.8 to -3.5: "
        "Hoch, Kim, Montgomery, Rossi (1995), Determinants of Store-Level Price Elasticity, J. Marketing Research 32; "
        "Montgomery (1997), Creating Micro-Marketing Pricing Strategies Using Supermarket Scanner Data, "
        "Marketing Science 16"
    ),
    "avocado": (
        "Retail own-price elasticities of Hass avocados, about -0.4 to -0.9: Carman, Li, Sexton (2009), An Economic "
        "Evaluation of the Hass Avocado Promotion Order's First Five Years, Giannini Foundation Research Report 351; "
        "Ambrozek, Saitone, Sexton (2019), Price Elasticities of Demand for Fresh Hass Avocados in the United States"
    ),
}


@dataclass(frozen=True)
class Product:
    """One product. Prices in dollars; `elasticity` is the own-price elasticity at `reference_price`."""

    family: str
    reference_price: float
    unit_cost: float
    elasticity: float
    ad_lift: float
    units_per_week: float
    season: float
    peak_week: int

    @property
    def slope(self) -> float:
        """Fall of log demand per dollar: demand is exp(-slope · price), so elasticity is -slope · price."""
        return -self.elasticity / self.reference_price


PRODUCTS: dict[str, Product] = {
    "orange-juice-premium": Product("orange-juice", 2.90, 1.78, -1.9, 0.45, 620, 0.10, 4),
    "orange-juice-brand": Product("orange-juice", 2.30, 1.48, -2.6, 0.55, 840, 0.08, 5),
    "orange-juice-store": Product("orange-juice", 1.80, 1.22, -3.3, 0.60, 910, 0.06, 3),
    "orange-juice-organic": Product("orange-juice", 4.40, 2.70, -2.1, 0.35, 210, 0.12, 6),
    "avocado-conventional": Product("avocado", 1.20, 0.74, -0.5, 0.25, 2400, 0.18, 22),
    "avocado-organic": Product("avocado", 1.65, 1.05, -0.85, 0.20, 380, 0.15, 23),
}
STORES: tuple[str, ...] = tuple(f"store-{number:02d}" for number in range(1, 13))
WEEKS_PER_YEAR = 52
