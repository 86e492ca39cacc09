"""The checks of `sensorium doctor`."""
