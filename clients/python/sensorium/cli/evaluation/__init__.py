"""Measures a running mesh on labelled things: `sensorium evaluate`."""
