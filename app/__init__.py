"""LW-BAFA face alignment as an HTTP service."""
