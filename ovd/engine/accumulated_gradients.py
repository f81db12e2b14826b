"""Gradients of an accumulation that a checkpoint is saved in the middle of.

With ``accumulative_counts`` of the host's ``OptimWrapper`` the weights change
only every so many iterations. A checkpoint in between holds the gradients,
too, so that nothing is lost on resuming: bit for bit with one process, but
for the order of summation with several.
"""

from typing import Dict, Iterable, Tuple

import torch
from mmengine.dist import all_reduce
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn


def _trained(runner: Runner) -> Iterable[Tuple[str, nn.Parameter]]:
    model = runner.model
    model = model.module if is_model_wrapper(model) else model
    return [
        (name, p) for name, p in model.named_parameters() if p.requires_grad
    ]


def mean_gradients(runner: Runner) -> Dict[str, Tensor]:
    """Return what was accumulated, as the mean of all processes.

    All processes have to call it.

    Returns:
        dict[str, Tensor]: Parameter's name -> its gradient, on the CPU; empty
        unless an accumulation was begun and is not over.
    """
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, OptimWrapperDict) or wrapper.should_update():
        return {}
    parameters = _trained(runner)
    # A process may lack the gradient of a part that it did not use.
    exist = torch.tensor([p.grad is not None for _, p in parameters]).float()
    all_reduce(exist, 'max')
    gradients = {}
    for (name, parameter), exists in zip(parameters, exist.tolist()):
        if exists:
            gradient = (
                torch.zeros_like(parameter)
                if parameter.grad is None
                else parameter.grad.clone()
            )
            all_reduce(gradient, 'mean')
            gradients[name] = gradient.detach().cpu()
    return gradients


def restore_gradients(runner: Runner, gradients: Dict[str, Tensor]) -> None:
    """Give the model what :func:`mean_gradients` returned."""
    for name, parameter in _trained(runner):
        if name in gradients:
            parameter.grad = gradients[name].to(parameter, copy=True)
    if gradients:
        runner.logger.info(
            'no gradient is lost: the checkpoint has those of the '
            'accumulation that it was saved in the middle of'
        )
