"""Transforms that configs name in their pipelines."""

from .distilled_box_broadcaster import DistilledBoxBroadcaster
from .load_proposal_embeddings import LoadProposalEmbeddings
from .load_proposals_to_embed import LoadProposalsToEmbed
from .load_whole_image import LoadWholeImage, WholeImageBackend
from .pack_distill_inputs import PackDistillInputs

__all__ = [
    'DistilledBoxBroadcaster',
    'LoadProposalEmbeddings',
    'LoadProposalsToEmbed',
    'LoadWholeImage',
    'PackDistillInputs',
    'WholeImageBackend',
]
