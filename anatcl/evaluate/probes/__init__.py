"""Models on frozen features: preparation, probe, cross-validation, attribution, fine-tuning."""
