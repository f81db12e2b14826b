"""A sampler that takes the first ones, where the host's draws by lot."""

from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import TASK_UTILS
from torch import Tensor


@TASK_UTILS.register_module()
class FirstSampler(RandomSampler):
    """Random sampler without the randomness."""

    def random_choice(self, gallery: Tensor, num: int) -> Tensor:
        """Return the first ``num`` of ``gallery`` (N,)."""
        return gallery[:num]
