"""Untrained: the encoder as it was initialised, with no loss; what pretraining must beat."""

METHOD = {
    "name": "untrained",
    "label": "Untrained encoder",
    "order": 1000,
}
