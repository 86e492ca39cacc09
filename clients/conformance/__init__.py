"""Holds clients in many languages to one set of cases: the same calls, the same answers, on real meshes."""
