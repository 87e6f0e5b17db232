"""What a user may say: configuration, tasks, protocols, options, recipes, templates, atlases; and how files are named.

All stages may import it; it imports neither torch nor ANTs nor nibabel.
"""
