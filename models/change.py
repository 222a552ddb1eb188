"""What happens to a batch on its device: normalisation, and augmentation on top of the stored copies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from models.preprocessing import Preprocessing
from models.schema import FeedParams


class Normalise:
    """uint8 (n, size, size, 3) to float (n, 3, size, size) with the model's mean and std."""

    def __init__(
        self, preprocessing: Preprocessing, *, channels_last: bool, device: torch.device | str = "cpu"
    ) -> None:
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.scale = (1 / (255 * std)).view(1, 3, 1, 1).to(device)
        self.shift = (-mean / std).view(1, 3, 1, 1).to(device)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.device = device

    def __call__(self, images: Tensor) -> Tensor:
        """Normalised images on the device."""
        pixels = images.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        return torch.addcmul(self.shift, pixels.to(torch.float32, memory_format=self.layout), self.scale)


def box(generator: np.random.Generator, size: int, *, area: float) -> tuple[int, int, int, int]:
    """A rectangle of about `area` of the image, anywhere, cut at the edges: top, bottom, left, right."""
    ratio = np.exp(generator.uniform(np.log(0.3), np.log(1 / 0.3)))
    height, width = size * np.sqrt(area * ratio), size * np.sqrt(area / ratio)
    y, x = generator.uniform(0, size, 2)
    top, bottom = int(max(0, y - height / 2)), int(min(size, y + height / 2))
    left, right = int(max(0, x - width / 2)), int(min(size, x + width / 2))
    return top, bottom, left, right


def mixup(images: Tensor, targets: Tensor, *, share: float, order: Tensor) -> tuple[Tensor, Tensor]:
    """Each image with another of the batch, `share` of it kept (Zhang et al., 2018, arXiv:1710.09412)."""
    return images.lerp(images[order], 1 - share), targets.lerp(targets[order], 1 - share)


def cutmix(
    images: Tensor, targets: Tensor, *, where: tuple[int, int, int, int], order: Tensor
) -> tuple[Tensor, Tensor]:
    """A rectangle of each image from another; labels by area (Yun et al., 2019, arXiv:1905.04899)."""
    top, bottom, left, right = where
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[order][:, :, top:bottom, left:right]
    share = 1 - (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])
    return mixed, targets.lerp(targets[order], 1 - share)


def mix(images: Tensor, targets: Tensor, params: FeedParams, *, seed: int) -> tuple[Tensor, Tensor]:
    """Mixup, cutmix and random erasing of a normalised batch, all drawn from `seed`."""
    if not (params.mixup or params.cutmix or params.erasing):
        return images, targets
    generator = np.random.default_rng(seed)
    kinds = [kind for kind in ("mixup", "cutmix") if getattr(params, kind) > 0]
    if kinds and generator.random() < params.mix_probability:
        kind = kinds[int(generator.integers(len(kinds)))]
        order = torch.from_numpy(generator.permutation(len(images))).to(images.device)
        share = float(generator.beta(getattr(params, kind), getattr(params, kind)))
        if kind == "mixup":
            images, targets = mixup(images, targets, share=share, order=order)
        else:
            where = box(generator, images.shape[-1], area=1 - share)
            images, targets = cutmix(images, targets, where=where, order=order)
    if params.erasing:
        images = images.clone()
        for row in np.flatnonzero(generator.random(len(images)) < params.erasing):
            top, bottom, left, right = box(generator, images.shape[-1], area=generator.uniform(0.02, 1 / 3))
            images[row, :, top:bottom, left:right] = 0  # the mean colour
    return images, targets


def image_augmentation(params: FeedParams) -> Callable[[Tensor, int], Tensor] | None:
    """RandAugment or TrivialAugment of torchvision on a uint8 batch, one seed per image; None if not asked for.

    torchvision draws from torch's global generator, so this runs in the main thread, and the step seeds itself after.
    """
    if params.online not in ("rand_augment", "trivial_augment"):
        return None
    from torchvision.transforms import v2

    chosen = v2.RandAugment(magnitude=params.rand_augment_magnitude) if params.online == "rand_augment" else None
    augment = chosen or v2.TrivialAugmentWide()

    def apply(images: Tensor, seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.stack([augment(image.permute(2, 0, 1)).permute(1, 2, 0) for image in images])

    return apply
