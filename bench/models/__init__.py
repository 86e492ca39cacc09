"""Makes the models that are timed: real shapes, random weights, no download."""
