"""The app: the report's front end with a live engine behind it, on this machine only."""
