"""RoI heads and box heads of the ViLD family."""

from .bbox_heads import ViLDBBoxHead, ViLDEnsembleBBoxHead
from .vild_roi_heads import ViLDCascadeRoIHead, ViLDRoIHead

__all__ = [
    'ViLDBBoxHead',
    'ViLDCascadeRoIHead',
    'ViLDEnsembleBBoxHead',
    'ViLDRoIHead',
]
