"""The text tower of a CLIP, run on no token twice.

Shapes: B texts, L tokens, p of them common to all texts at their start, S the
others, E token embedding size, H heads, D embedding size.
"""

from typing import List, NamedTuple, Optional

import torch
from torch import Tensor, nn

from .transformer import finish, layer_norm, project


class Prefix(NamedTuple):
    """What the tokens at the start of all texts give to those after them.

    Args:
        length (int): p.
        keys (list[Tensor]): (H, p, E / H) of each block.
        values (list[Tensor]): (H, p, E / H) of each block.
    """

    length: int
    keys: List[Tensor]
    values: List[Tensor]


class TextTower:
    """Encode tokens as ``model.encode_text`` does, with less work.

    A token of a causal transformer sees only those before it, and the
    embedding is read at the end token, which has the highest id. So it is
    exact to cut texts behind the end token, to run what all texts have in
    common at their start once, and to run the last block at the end tokens
    alone. It holds no weights of its own, and gradients flow.

    Args:
        model (nn.Module): A CLIP of openai-clip's class, or of open_clip's
            with a text tower of that kind.

    Raises:
        ValueError: If the text tower is of another kind.
    """

    def __init__(self, model: nn.Module) -> None:
        # open_clip has the tower in `text` where it is of a custom kind
        text = getattr(model, 'text', model)
        _check_kind(text)
        self.text = text
        self.blocks = text.transformer.resblocks

    @property
    def embed_dims(self) -> int:
        """D, the size of the embeddings."""
        projection = self.text.text_projection
        return (
            projection.out_features
            if isinstance(projection, nn.Linear)
            else projection.shape[1]
        )

    @property
    def context_length(self) -> int:
        """The most tokens that a text may have."""
        return len(self.text.positional_embedding)

    @property
    def token_dims(self) -> int:
        """E, the size of token embeddings."""
        return self.text.positional_embedding.shape[1]

    def encode(
        self,
        tokens: Tensor,
        context: Optional[Tensor] = None,
        batch_size: int = 256,
    ) -> Tensor:
        """Return the features (B, D) of tokens, float32, not normalised.

        Args:
            tokens (Tensor): (B, L) int, zeros behind the end token; B may
                be 0.
            context (Tensor, optional): (n, E) learned embeddings that stand
                for the n tokens after the first one (DetPro, CoOp).
            batch_size (int): Texts at once. Defaults to 256.

        Raises:
            ValueError: If a text ends before the context does.
        """
        device = self.text.positional_embedding.device
        ends = tokens.argmax(dim=-1)
        size = 0 if context is None else len(context)
        if len(ends) and ends.min() <= size:
            raise ValueError(
                f'a context of {size} tokens needs texts of at least as many, '
                f'got one of {int(ends.min()) - 1}'
            )
        length = _common_length(tokens, ends, size)
        prefix = None
        if length:
            prefix = self._encode_prefix(
                self._embed(tokens[:1, :length].to(device), context)
            )
        if length > size:
            context = None  # all of it is in the prefix
        parts = [torch.empty(0, self.embed_dims, device=device)]
        # Texts of about one length in one batch: less padding to compute.
        order = ends.argsort(stable=True)
        for rows in order.split(_batch_sizes(ends[order], batch_size)):
            stop = int(ends[rows].max()) + 1
            x = self._embed(tokens[rows, :stop].to(device), context)
            parts.append(
                self._encode(
                    x[:, length:], ends[rows].to(device) - length, prefix
                )
            )
        return torch.cat(parts)[order.argsort().to(device)]

    def _embed(self, tokens: Tensor, context: Optional[Tensor]) -> Tensor:
        """Return the input (B, L, E) of the first block, float32."""
        x = self.text.token_embedding(tokens).float()
        if context is not None:
            size = len(context)
            context = context.to(x).expand(len(x), -1, -1)
            x = torch.cat([x[:, :1], context, x[:, 1 + size :]], dim=1)
        return x + self.text.positional_embedding[: x.shape[1]].float()

    def _encode_prefix(self, x: Tensor) -> Prefix:
        """Run (1, p, E) through the blocks, keeping keys and values."""
        length = x.shape[1]
        mask = torch.ones(
            length, length, dtype=torch.bool, device=x.device
        ).tril()
        keys, values = [], []
        for block in self.blocks:
            h = layer_norm(x, block.ln_1)
            query, key, value = project(h, block.attn)
            keys.append(key[0])
            values.append(value[0])
            if block is not self.blocks[-1]:
                x = finish(x, block, query, key, value, mask)
        return Prefix(length, keys, values)

    def _encode(
        self, x: Tensor, ends: Tensor, prefix: Optional[Prefix]
    ) -> Tensor:
        """Run (B, S, E) behind a prefix; read the features at ``ends``."""
        size = x.shape[1]
        length = prefix.length if prefix else 0
        mask = torch.ones(
            size, length + size, dtype=torch.bool, device=x.device
        ).tril(length)
        texts = torch.arange(len(x), device=x.device)
        for i, block in enumerate(self.blocks):
            h = layer_norm(x, block.ln_1)
            if block is not self.blocks[-1]:
                query, key, value = project(h, block.attn)
            else:
                key, value = project(h, block.attn, slice(1, 3))
                x, h = (part[texts, ends, None] for part in (x, h))
                (query,) = project(h, block.attn, slice(0, 1))
                mask = mask[ends][:, None, None]  # (B, 1, 1, p + S)
            if prefix:
                key, value = (
                    torch.cat([part[i].expand(len(x), -1, -1, -1), own], dim=2)
                    for part, own in (
                        (prefix.keys, key),
                        (prefix.values, value),
                    )
                )
            x = finish(x, block, query, key, value, mask)
        x = layer_norm(x[:, 0], self.text.ln_final)
        projection = self.text.text_projection
        if isinstance(projection, nn.Linear):
            return projection(x.to(projection.weight.dtype)).float()
        return (x.to(projection.dtype) @ projection).float()


def _check_kind(text: nn.Module) -> None:
    """Raise unless this is a causal transformer, pooled at the end token."""
    blocks = getattr(getattr(text, 'transformer', None), 'resblocks', ())
    pool = getattr(
        text, 'text_pool_type', getattr(text, 'pool_type', 'argmax')
    )
    mask = getattr(text, 'attn_mask', None)
    if mask is None and blocks:
        mask = getattr(blocks[0], 'attn_mask', None)  # openai-clip's place
    good = (
        blocks
        and pool == 'argmax'
        and mask is not None
        and getattr(text, 'cls_emb', None) is None
        and all(
            type(block.attn) is nn.MultiheadAttention
            and not hasattr(block, 'ln_attn')
            for block in blocks
        )
    )
    if not good:
        raise ValueError(
            'this CLIP has a text tower that ovd does not know: expected a '
            'causal transformer that is read at the end token, as in '
            f'openai-clip, got {type(text).__name__} pooled by {pool!r}'
        )


def _batch_sizes(ends: Tensor, batch_size: int) -> List[int]:
    """Return how many of the texts, shortest first, are in each batch.

    A batch is full at ``batch_size`` texts, or where the next text would need
    more padding of those before it than a quarter of that many tokens.

    Args:
        ends (Tensor): (B,) int, ascending.
        batch_size (int): Texts at most.
    """
    sizes, size, padding, last = [], 0, 0, 0
    for end in ends.tolist():
        padding += size * (end - last)
        if size == batch_size or padding > batch_size // 4:
            sizes.append(size)
            size = padding = 0
        size, last = size + 1, end
    return sizes + [size] * bool(size)


def _common_length(tokens: Tensor, ends: Tensor, context_size: int) -> int:
    """Return p, how many tokens all texts share before any of them ends.

    A context stands in for other tokens, so they don't need to be the same.
    """
    if not len(tokens):
        return 0
    same = (tokens == tokens[0]).all(dim=0)
    same[1 : 1 + context_size] = True
    return min(int(same.long().cumprod(dim=0).sum()), int(ends.min()))
