"""Four eyes: a version is asked for, read by somebody else beside its evidence, and approved or sent back."""
