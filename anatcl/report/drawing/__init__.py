"""Figures as SVG and pictures of slices."""
