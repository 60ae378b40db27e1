"""Bills of others against our books: read a bill, match it, name every gap, correct what is ours to correct."""
