"""Hooks, loops, launch, strict overrides."""

# ruff: noqa: E402, I001  (first say what to install, if anything is missing)
from ovd.host import check_host

check_host()

from .atomic_local_backend import AtomicLocalBackend
from .backbone_weights import load_from_torchvision
from .checkpoints import load_from_local
from .extraction_loop import ExtractionLoop
from .extraction_runner import ExtractionRunner
from .hooks import (
    AtomicCheckpointHook,
    ClassEmbeddingHook,
    DueValidationHook,
    ExactResumeHook,
    FiniteLossHook,
    HangWatchHook,
    ImageEmbeddingHook,
    OpenVocabularyHook,
    PlainCheckpointHook,
    PreemptionHook,
    ThroughputHook,
)
from .resumable_epoch_loop import ResumableEpochLoop
from .tensorboard_backend import OptionalTensorboardVisBackend

__all__ = [
    'AtomicCheckpointHook',
    'AtomicLocalBackend',
    'ClassEmbeddingHook',
    'DueValidationHook',
    'ExactResumeHook',
    'ExtractionLoop',
    'ExtractionRunner',
    'FiniteLossHook',
    'HangWatchHook',
    'ImageEmbeddingHook',
    'OpenVocabularyHook',
    'OptionalTensorboardVisBackend',
    'PlainCheckpointHook',
    'PreemptionHook',
    'ResumableEpochLoop',
    'ThroughputHook',
    'load_from_local',
    'load_from_torchvision',
]
