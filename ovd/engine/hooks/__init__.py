"""Hooks that every config of the package runs."""
from .export_clip_hook import ExportCLIPHook
from .open_vocabulary_hook import OpenVocabularyHook
from .plain_checkpoint_hook import PlainCheckpointHook

__all__ = ['ExportCLIPHook', 'OpenVocabularyHook', 'PlainCheckpointHook']
