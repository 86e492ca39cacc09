"""Makes the shipped bundle `tiny@1`: from data to trained towers to model packages."""
