"""Hooks that every config of the package runs."""
from .open_vocabulary_hook import OpenVocabularyHook
from .plain_checkpoint_hook import PlainCheckpointHook

__all__ = ['OpenVocabularyHook', 'PlainCheckpointHook']
