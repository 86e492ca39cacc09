"""Benchmarks: `python -m bench` against other servers, `python -m bench.resize` against Pillow."""
