"""Answers kept for the same question again: exactly the same (exact), or one that means the same (semantic)."""
