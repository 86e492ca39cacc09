"""Numbers of preprocessing, from an export's own files: one module a modality."""
