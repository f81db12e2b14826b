"""Hooks that every config of the package runs."""
from .class_embedding_hook import ClassEmbeddingHook
from .export_clip_hook import ExportCLIPHook
from .export_prompts_hook import ExportPromptsHook
from .image_embedding_hook import ImageEmbeddingHook
from .open_vocabulary_hook import OpenVocabularyHook
from .plain_checkpoint_hook import PlainCheckpointHook

__all__ = [
    'ClassEmbeddingHook', 'ExportCLIPHook', 'ExportPromptsHook',
    'ImageEmbeddingHook', 'OpenVocabularyHook', 'PlainCheckpointHook'
]
