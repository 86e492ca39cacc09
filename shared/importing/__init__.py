"""Makes model packages of what others exported: reads a folder in the layout of the Hugging Face Hub."""
