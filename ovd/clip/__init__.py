"""CLIP in one place: the only folder that imports a CLIP library."""
