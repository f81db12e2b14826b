"""Layers."""

from .class_embedding_classifier import ClassEmbeddingClassifier

__all__ = ['ClassEmbeddingClassifier']
