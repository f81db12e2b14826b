"""Texts to CLIP embeddings, and class names through prompt templates.

Shapes: C classes, T templates, B texts of a batch, L tokens, D embedding.
"""
from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from .loading import LoadedCLIP, tokenize
from .prompt_templates import fill_templates


def encode_tokens(model: nn.Module, tokens: Tensor) -> Tensor:
    """Return the text features (B, D) of tokens (B, L), not normalised.

    Equal to ``model.encode_text(tokens)``, but the context is cut to the
    longest text of the batch. That is exact: a token sees only those before
    it, and the feature is read at the end token, which has the highest id.

    Args:
        model (nn.Module): A CLIP of openai-clip's class.
        tokens (Tensor): (B, L) int, on the model's device; B may be 0.
    """
    if len(tokens) == 0:
        return model.text_projection.new_zeros(
            0, model.text_projection.shape[1])
    ends = tokens.argmax(dim=-1)
    length = int(ends.max()) + 1
    x = model.token_embedding(tokens[:, :length]).type(model.dtype)
    x = x + model.positional_embedding[:length].type(model.dtype)
    x = x.transpose(0, 1)  # the blocks take (L, B, width)
    for block in model.transformer.resblocks:
        mask = block.attn_mask[:length, :length].to(x)
        y = block.ln_1(x)
        y, _ = block.attn(y, y, y, need_weights=False, attn_mask=mask)
        x = x + y
        x = x + block.mlp(block.ln_2(x))
    x = x[ends, torch.arange(len(ends), device=x.device)]  # (B, width)
    return model.ln_final(x).type(model.dtype) @ model.text_projection


@torch.no_grad()
def embed_class_names(clip: LoadedCLIP,
                      names: Sequence[str],
                      templates: str = 'vild',
                      batch_size: int = 256) -> Tensor:
    """Return the class embeddings (C, D) of class names.

    Each template's embedding is normalised, then their mean is (ViLD, by the
    notebook that the authors published). Shows a
    progress bar where there is more than one batch.

    Args:
        clip (LoadedCLIP): The CLIP to use.
        names (Sequence[str]): C class names; C may be 0.
        templates (str): A key of ``TEMPLATE_SETS``. Defaults to ``'vild'``.
        batch_size (int): Texts at once. Defaults to 256.

    Returns:
        Tensor: (C, D) float32 of unit norm, on the CPU.

    Raises:
        ValueError: If a name is empty or too long for CLIP, or there are no
            such templates.
    """
    if isinstance(names, str):
        raise ValueError(f'names must be a list, got the string {names!r}')
    if batch_size < 1:
        raise ValueError(f'batch_size must be positive, got {batch_size}')
    model = clip.model
    filled = [fill_templates(name, templates) for name in names]
    tokens = tokenize([text for texts in filled for text in texts],
                      model.context_length)
    # rows[i] is the class that text i belongs to
    rows = torch.tensor(
        [row for row, texts in enumerate(filled) for _ in texts],
        dtype=torch.long)
    # Texts of one length in one batch: less padding to compute.
    order = tokens.argmax(dim=-1).argsort(stable=True)
    sums = torch.zeros(len(names), model.text_projection.shape[1])
    with tqdm(
            total=len(order),
            desc='class embeddings',
            unit='text',
            disable=len(order) <= batch_size) as progress:
        for batch in order.split(batch_size):
            features = encode_tokens(model, tokens[batch].to(clip.device))
            sums.index_add_(0, rows[batch],
                            F.normalize(features.float(), dim=-1).cpu())
            progress.update(len(batch))
    return F.normalize(sums, dim=-1)  # of the sum, hence of the mean
