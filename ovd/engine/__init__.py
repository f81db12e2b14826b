"""Hooks, loops, launch, strict overrides."""
from .atomic_backend import AtomicLocalBackend
from .extraction_loop import ExtractionLoop
from .extraction_runner import ExtractionRunner
from .hooks import OpenVocabularyHook, PlainCheckpointHook

__all__ = [
    'AtomicLocalBackend', 'ExtractionLoop', 'ExtractionRunner',
    'OpenVocabularyHook', 'PlainCheckpointHook'
]
