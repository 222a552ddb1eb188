"""Every parameter of a member: the section `train` sets it for all, `models.<name>` for one.

`docs/members.md` holds the table made from here: python -m models.documents
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from storage.section import Section

Precision = Literal["auto", "fp32", "fp32_channels_last", "bf16_channels_last", "bf16_depthwise_fp32", "fp16"]
Metric = Literal["macro_f1", "accuracy", "log_loss"]
View = Literal["testlike", "clean"]
Option = bool | int | float | str | list[int]


class InputParams(Section):
    """What the network is and what it is shown."""

    pretrained: str = Field(
        "none", description="weights to start from: none, hub, wheel, or a file (.safetensors, .pth of tensors only)"
    )
    backbone_options: dict[str, Option] = Field(
        default_factory=dict,
        description="passed to the backbone: e.g. drop_path_rate for timm; widths and dropout for simple_cnn",
    )
    size: int | None = Field(None, ge=8, le=4096, description="side of the square input in pixels; null: the model's")
    fit: Literal["squash", "pad", "crop"] = Field("squash", description="how an image is made square")
    interpolation: Literal["nearest", "bilinear", "bicubic", "area"] | None = Field(
        None, description="of the resize to `size`; null: the model's"
    )
    mean: tuple[float, float, float] | None = Field(None, description="subtracted after / 255; null: the model's")
    std: tuple[float, float, float] | None = Field(None, description="divided by; null: the model's")


class HeadParams(Section):
    """From features to classes, and which weights move."""

    head: Literal["linear", "pool_norm_linear", "mlp", "multi_sample"] = Field(
        "linear", description="linear; BatchNorm + linear; the MLP on the 1000 ImageNet outputs; multi-sample dropout"
    )
    head_dropout: float = Field(0.0, ge=0, lt=1, description="dropout in the head")
    head_widths: list[int] = Field([512, 256, 128, 64, 32], min_length=1, description="hidden widths of head mlp")
    head_samples: int = Field(5, ge=1, le=64, description="dropout masks of head multi_sample")
    freeze: int | Literal["all"] = Field(
        0, description="blocks of the backbone, from the input on, that do not train; `all`: train the head only"
    )
    unfreeze_every: float = Field(
        0.0, ge=0, description="epochs after which one more frozen block, from the head down, trains; 0: never"
    )
    layer_decay: float = Field(1.0, gt=0, le=1, description="factor on the learning rate per block away from the head")


class LossParams(Section):
    """What is minimised; every loss takes soft labels."""

    loss: Literal["cross_entropy", "focal", "asymmetric", "soft_f1", "polynomial"] = Field(
        "cross_entropy", description="the loss"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each label spread over all classes")
    focal_gamma: float = Field(2.0, ge=0, description="focusing of loss focal")
    asymmetric_gammas: tuple[float, float] = Field((4.0, 1.0), description="negative, positive focusing of asymmetric")
    polynomial_epsilon: float = Field(1.0, description="weight of the first polynomial term of loss polynomial")
    class_weights: Literal["none", "inverse", "effective"] | list[float] = Field(
        "none", description="none, by inverse frequency, by effective number of samples, or one number per class"
    )
    effective_beta: float = Field(0.999, ge=0, lt=1, description="beta of the effective number of samples")
    logit_adjustment: float = Field(0.0, ge=0, description="tau: adds tau * log(prior) to the logits while training")
    sampler: Literal["plain", "balanced", "square_root"] = Field(
        "plain", description="every row once an epoch, or classes drawn evenly, or by the root of their size"
    )


class OptimiserParams(Section):
    """How it is minimised."""

    optimizer: str = Field("adamw", description="any optimiser of timm.optim")
    lr: float = Field(2e-3, gt=0, description="highest learning rate")
    weight_decay: float = Field(0.05, ge=0, description="weight decay; never on biases and norms")
    schedule: Literal["cosine", "one_cycle", "plateau", "constant"] = Field("cosine", description="learning rate")
    warmup_epochs: float = Field(0.5, ge=0, description="epochs of linear warm-up (cosine, plateau, constant)")
    final_lr: float = Field(0.01, ge=0, le=1, description="last learning rate as a share of lr (cosine, one_cycle)")
    plateau_patience: int = Field(3, ge=1, description="epochs without a better score before lr is divided by ten")
    epochs: int = Field(10, ge=1, description="epochs")
    batch: int = Field(64, ge=1, description="images a step and device")
    accumulate: int = Field(1, ge=1, description="steps whose gradients are added before the weights move")
    clip: float = Field(1.0, ge=0, description="largest norm of the gradient; 0: no clipping")
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the averaged weights that predict; 0: no average")
    seed: int = Field(0, ge=0, description="everything random is derived from it, the fold, the epoch and the index")
    seeds: int = Field(1, ge=1, le=100, description="networks trained per fold, their probabilities averaged")


class FeedParams(Section):
    """Which images, in which order, changed how."""

    rows: Literal["both", "augmented", "clean"] = Field("both", description="copies, clean sources, or both")
    copies: int | None = Field(None, ge=1, description="use only the first so many copies of each source")
    epoch_images: int | None = Field(None, ge=1, description="images an epoch; null: each row once")
    pseudo_labels: str | None = Field(
        None, description="folder with <fold>/test.parquet of an earlier member: test images it is sure of train too"
    )
    pseudo_threshold: float = Field(0.95, gt=0, le=1, description="how sure: its highest probability, at least")
    online: Literal["none", "copies", "rand_augment", "trivial_augment"] = Field(
        "none", description="augmentation while training, on top of the stored copies; copies: the stage's own recipe"
    )
    rand_augment_magnitude: int = Field(9, ge=0, le=30, description="strength of rand_augment")
    mixup: float = Field(0.0, ge=0, description="alpha of mixup within a batch; 0: off")
    cutmix: float = Field(0.0, ge=0, description="alpha of cutmix within a batch; 0: off")
    mix_probability: float = Field(1.0, ge=0, le=1, description="share of the batches that are mixed")
    erasing: float = Field(0.0, ge=0, le=1, description="share of the images that lose a random rectangle")
    workers: int = Field(2, ge=1, le=256, description="threads that read ahead")
    cache_gb: float = Field(2.0, ge=0, description="decoded images kept on disk for all models and folds, at most")


class RunParams(Section):
    """On what it runs, what is kept, when it stops."""

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="Fabric's accelerator")
    devices: int = Field(1, ge=1, description="processes, one per device")
    nodes: int = Field(1, ge=1, description="machines")
    threads: int = Field(0, ge=0, description="CPU threads of a process; 0: all cores")
    precision: Precision = Field(
        "auto", description="auto measures a few steps of each at the first fold and keeps the fastest"
    )
    validate_every: int = Field(1, ge=1, description="epochs between two looks at the held-out rows")
    keep: Literal["last", "best"] = Field(
        "last", description="the weights that predict; best flatters the held-out score, and by how much is printed"
    )
    metric: Metric = Field("macro_f1", description="metric of keep best, early stopping and plateau")
    view: View = Field("testlike", description="view on which that metric is taken")
    patience: int = Field(0, ge=0, description="validations without a better score before training stops; 0: never")
    average_last: int = Field(0, ge=0, le=50, description="average the weights at the ends of the last so many epochs")
    checkpoint_minutes: float = Field(5.0, ge=0, description="minutes between checkpoints inside an epoch")
    time_budget: float | None = Field(None, gt=0, description="seconds after which training ends with valid results")
    predict_batch: int = Field(256, ge=1, description="images a batch when predicting")
    tta: list[Literal["hflip", "vflip", "rotate90", "rotate180", "rotate270", "zoom_in", "zoom_out"]] = Field(
        default_factory=list, description="views averaged with the plain one, if the held-out score says so"
    )
    tta_keep: Literal["auto", "always"] = Field("auto", description="auto: keep TTA only where log-loss falls")
    figures: bool = Field(True, description="draw the pictures of each fold beside its tables")
    worst: int = Field(24, ge=0, le=400, description="held-out images with the largest loss to list and draw")


class TrainParams(InputParams, HeadParams, LossParams, OptimiserParams, FeedParams, RunParams):
    """The section `train`: defaults of all models."""

    @field_validator("mean", "std", mode="after")
    @classmethod
    def finite(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        """Mean and std are plain numbers."""
        if value is not None and not all(math.isfinite(number) for number in value):
            raise ValueError("three finite numbers expected")
        return value

    @model_validator(mode="after")
    def consistent(self) -> TrainParams:
        """Refuse settings that contradict each other."""
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("std must be positive")
        if self.schedule == "plateau" and self.validate_every > self.epochs:
            raise ValueError("schedule plateau needs validations; lower validate_every")
        if isinstance(self.freeze, int) and self.freeze < 0:
            raise ValueError("freeze counts blocks: 0 or more, or all")
        if self.keep == "best" and self.average_last:
            raise ValueError("keep: best and average_last exclude each other")
        if self.unfreeze_every and self.devices * self.nodes > 1:
            raise ValueError("unfreeze_every needs one device: several have to agree on the weights from the start")
        return self


class ModelParams(TrainParams):
    """One entry of `models`: a backbone and whatever differs from `train`."""

    backbone: str = Field(description="a timm name, shufflenet_v2_*, squeezenet1_*, or simple_cnn", min_length=1)


def member_values(train: Mapping[str, Any] | None, model: Mapping[str, Any] | None) -> dict[str, Any]:
    """The raw values of one member: those of `train`, then those of `models.<name>` over them."""
    return {**(train or {}), **(model or {})}
