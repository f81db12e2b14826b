"""Box heads that name regions by class embeddings."""

from .vild_bbox_head import ViLDBBoxHead
from .vild_ensemble_bbox_head import ViLDEnsembleBBoxHead

__all__ = ['ViLDBBoxHead', 'ViLDEnsembleBBoxHead']
