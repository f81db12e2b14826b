"""One class for Python users: words and images in, detections out."""
from .open_vocabulary_detector import OpenVocabularyDetector

__all__ = ['OpenVocabularyDetector']
