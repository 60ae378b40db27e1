"""Demand and price advice, shown on a seeded retail generator and measured on real sales."""
