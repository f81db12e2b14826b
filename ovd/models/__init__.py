"""Classifiers, heads, losses and the CLIP models that configs name."""

from .clip_pretrainer import CLIPPretrainer
from .detectors import CLIPOnBoxes
from .layers import ClassEmbeddingClassifier
from .losses import DistillationLoss
from .prompt_learner import PromptLearner
from .proposal_feature_extractor import ProposalFeatureExtractor
from .roi_heads import (
    ViLDBBoxHead,
    ViLDCascadeRoIHead,
    ViLDEnsembleBBoxHead,
    ViLDRoIHead,
)

__all__ = [
    'CLIPOnBoxes',
    'CLIPPretrainer',
    'ClassEmbeddingClassifier',
    'DistillationLoss',
    'PromptLearner',
    'ProposalFeatureExtractor',
    'ViLDBBoxHead',
    'ViLDCascadeRoIHead',
    'ViLDEnsembleBBoxHead',
    'ViLDRoIHead',
]
