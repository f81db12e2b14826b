"""Hooks that every config of the package runs."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .class_embedding_hook import ClassEmbeddingHook
from .due_validation_hook import DueValidationHook
from .exact_resume_hook import ExactResumeHook
from .export_clip_hook import ExportCLIPHook
from .export_prompts_hook import ExportPromptsHook
from .finite_loss_hook import FiniteLossHook
from .hang_watch_hook import HangWatchHook
from .image_embedding_hook import ImageEmbeddingHook
from .open_vocabulary_hook import OpenVocabularyHook
from .plain_checkpoint_hook import PlainCheckpointHook
from .preemption_hook import PreemptionHook
from .throughput_hook import ThroughputHook

__all__ = [
    'AtomicCheckpointHook',
    'ClassEmbeddingHook',
    'DueValidationHook',
    'ExactResumeHook',
    'ExportCLIPHook',
    'ExportPromptsHook',
    'FiniteLossHook',
    'HangWatchHook',
    'ImageEmbeddingHook',
    'OpenVocabularyHook',
    'PlainCheckpointHook',
    'PreemptionHook',
    'ThroughputHook',
]
