"""The names of all backbones, known without importing torch: params.yaml is checked before anything slow begins."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from storage.errors import ParamsError
from storage.names import near

TORCHVISION = [f"shufflenet_v2_x{x}" for x in ("0_5", "1_0", "1_5", "2_0")] + ["squeezenet1_0", "squeezenet1_1"]
REGISTERED = re.compile(r"^@register_model\b[^\n]*\ndef (\w+)\(", re.MULTILINE)
RENAMED = re.compile(r"^register_model_deprecations\(__name__, \{(.*?)^\}\)", re.MULTILINE | re.DOTALL)
OLD_NAME = re.compile(r"^\s*'(\w+)'\s*:", re.MULTILINE)


@cache
def timm_names() -> tuple[str, ...]:
    """timm's architectures, over a thousand, read from its sources: importing it costs some seconds."""
    spec = find_spec("timm")
    if spec is None or spec.origin is None:
        return ()
    found: set[str] = set()
    for path in sorted((Path(spec.origin).parent / "models").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        found.update(REGISTERED.findall(text))
        for renamed in RENAMED.findall(text):
            found.update(OLD_NAME.findall(renamed))
    return tuple(sorted(found))


def names() -> list[str]:
    """All backbones that can be asked for."""
    return [*timm_names(), *TORCHVISION, "simple_cnn"]


def origin(name: str) -> str:
    """ours, torchvision or timm; raises ParamsError with the nearest names for any other.

    A timm name may carry the tag of its weights, as in resnet50.a1_in1k.
    """
    if name == "simple_cnn":
        return "ours"
    if name in TORCHVISION:
        return "torchvision"
    if name.split(".", maxsplit=1)[0] in timm_names():
        return "timm"
    close = near(name, names(), count=3, likeness=0.4)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    raise ParamsError(f"backbone {name!r} is not known{hint} All names: podium summary --list {name[:4]}")
