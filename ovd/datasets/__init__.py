"""GZSL splits, datasets and transforms."""
