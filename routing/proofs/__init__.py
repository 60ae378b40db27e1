"""Proof of where decided requests went: records sealed in a chain, and what the chain says of a period."""
