"""The orchestrator: composes the encoders and the fusion service into the calls that users want."""
