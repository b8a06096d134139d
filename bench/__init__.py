"""Measurements of the budgets in docs: speed and memory, as ratios where possible."""
