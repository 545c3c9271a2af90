"""Command lines: pretraining, classification, sweeps."""
