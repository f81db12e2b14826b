"""Losses."""

from .distillation_loss import DistillationLoss
from .soft_background_loss import soft_background_loss

__all__ = ['DistillationLoss', 'soft_background_loss']
