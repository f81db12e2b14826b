"""Transforms that configs name in their pipelines."""
from .load_proposal_embeddings import LoadProposalEmbeddings
from .pack_distill_inputs import PackDistillInputs

__all__ = ['LoadProposalEmbeddings', 'PackDistillInputs']
