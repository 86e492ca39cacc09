"""The fusion service."""
