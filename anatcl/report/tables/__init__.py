"""Benchmark tables: words, cells, marks, formats."""
