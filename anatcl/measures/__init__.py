"""Anatomical measures per region: labels, thickness, volume and area, and the tables made of them."""
