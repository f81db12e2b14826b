"""RoI heads and box heads of the ViLD family."""
from .bbox_heads import ViLDBBoxHead, ViLDEnsembleBBoxHead
from .vild_roi_head import ViLDRoIHead

__all__ = ['ViLDBBoxHead', 'ViLDEnsembleBBoxHead', 'ViLDRoIHead']
