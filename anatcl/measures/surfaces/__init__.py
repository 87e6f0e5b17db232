"""Surfaces of the cortex: white, pial and central surface, sphere, and what is measured on them.

The surfaces themselves are made by cat-surf in a process of its own (:mod:`anatcl.measures.surfaces.program`).
"""
