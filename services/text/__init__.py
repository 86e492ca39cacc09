"""The text service."""
