"""The parameters of one member: the section `train` for all, `models.<name>` over it, and a backbone that exists."""

from __future__ import annotations

from pathlib import Path

from models.names import origin
from models.schema import ModelParams, TrainParams, member_values
from stages.params import check, read_params
from storage.errors import ParamsError
from storage.names import nearest


def member_params(name: str, path: str | Path = "params.yaml") -> ModelParams:
    """The parameters of one model; raises ParamsError with every problem, its line, and the nearest name."""
    params = read_params(path)
    train, models = params.values.get("train") or {}, params.values.get("models") or {}
    if name not in models:
        raise ParamsError(f"{path}: models.{name} is missing{nearest(name, list(models))}")
    check(params, ("train",), train, TrainParams)
    chosen = check(params, ("models", name), member_values(train, models[name]), ModelParams)
    try:
        origin(chosen.backbone)
    except ParamsError as error:
        raise ParamsError(f"{path}:{params.line(('models', name, 'backbone'))}: models.{name}: {error}") from None
    return chosen
