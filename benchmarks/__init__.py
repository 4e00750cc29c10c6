"""Whole-program figures, each against the raw limit of the same database in the same run."""
