"""The systems that are compared: ours, and the peers with the programs that they run here."""
