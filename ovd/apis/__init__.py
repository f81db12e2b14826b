"""For Python users: words and images in, detections out."""

from typing import Any

__all__ = ['OpenVocabularyDetector']


def __getattr__(name: str) -> Any:
    """Import the detector when asked for: class embeddings need no mmdet."""
    if name == 'OpenVocabularyDetector':
        from .open_vocabulary_detector import OpenVocabularyDetector

        return OpenVocabularyDetector
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
