"""Room `forecast`: Graph x Chip -> Forecast, what the vendor's own program is expected to take on silicon."""
