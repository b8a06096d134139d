"""Trace -> Report, and the pictures and tables of reports."""
