"""Hooks, loops, launch, strict overrides."""
from .atomic_backend import AtomicLocalBackend
from .hooks import OpenVocabularyHook, PlainCheckpointHook

__all__ = ['AtomicLocalBackend', 'OpenVocabularyHook', 'PlainCheckpointHook']
