"""Ops: one entry per operation, a file per kind (registry.py lists them all)."""
