"""params.yaml, read strictly: no tags, no key twice, no unknown key; each refusal names the key, the line and a remedy.

Each section's schema lives beside the code that it configures; a stage reads its own section once, in `main`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from storage.errors import ParamsError, problems
from storage.names import nearest
from storage.section import Section

SECTIONS = ("fetch", "prepare", "explore", "split", "augment", "train", "models", "blend", "submit", "compare")
LISTS = ("members", "folds")
SYNONYMS = {  # what other tools call it
    "learning_rate": "lr",
    "batch_size": "batch",
    "num_epochs": "epochs",
    "n_epochs": "epochs",
    "image_size": "size",
    "img_size": "size",
    "input_size": "size",
    "model": "backbone",
    "arch": "backbone",
    "architecture": "backbone",
    "optim": "optimizer",
    "opt": "optimizer",
    "scheduler": "schedule",
    "sched": "schedule",
    "criterion": "loss",
    "num_workers": "workers",
    "n_folds": "folds",
    "n_splits": "folds",
    "random_state": "seed",
    "dropout": "head_dropout",
}
PLAIN = {  # pydantic's words, for people
    "string_type": "expected text",
    "tuple_type": "expected a list such as [0, 1]",
    "list_type": "expected a list",
    "dict_type": "expected keys with values",
    "model_type": "expected keys with values",
    "model_attributes_type": "expected keys with values",
}
REMEDIES = {  # for what YAML says of the usual slips
    "found character '\\t'": "indent with spaces, not with tabs",
    "mapping values are not allowed here": "is it indented as the lines around it?",
    "could not find expected ':'": "a key is followed by a colon and a space",
    "expected <block end>": "is it indented as the lines around it?",
}
LARGEST = 1_000_000  # bytes; a params.yaml is a page, not a book
NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
Model = TypeVar("Model", bound=Section)
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Params:
    """The values of a YAML file and the line of each key."""

    path: Path
    values: dict[str, Any]
    lines: dict[Place, int]

    def line(self, place: Place) -> int:
        """The line of a key, or of the nearest key around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_params(path: str | Path = "params.yaml") -> Params:
    """The whole file; raises ParamsError where it is not plain YAML, repeats a key or has an unknown section."""
    if not Path(path).is_file():
        raise ParamsError(f"{path} not found. Run in the folder of dvc.yaml, or: podium use digits")
    params = read_yaml(path)
    known = (*SECTIONS, *LISTS)
    unknown = [
        f"{path}:{params.lines[key,]}: {key}: unknown section{nearest(str(key), known)}"
        for key in params.values
        if key not in known
    ]
    if unknown:
        raise ParamsError(problems(f"{path} cannot be used", unknown))
    return params


def read_yaml(path: str | Path) -> Params:
    """Keys with values from a file of plain YAML; raises ParamsError where it is not, or repeats a key."""
    path = Path(path)
    raw = path.read_bytes()
    if len(raw) > LARGEST:
        raise ParamsError(f"{path} has {len(raw):,} bytes; the limit is {LARGEST:,}")
    try:
        root = yaml.compose(raw.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path} is not UTF-8 (byte {error.start}). Save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        told = str(error.problem or error.context)
        remedy = next((f"; {text}" for start, text in REMEDIES.items() if told.startswith(start)), "")
        raise ParamsError(f"{path}{place}: {told}{remedy}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ParamsError(f"{path}: {error}") from None
    if not isinstance(root, MappingNode):
        raise ParamsError(f"{path} holds no sections; expected keys with values")
    lines: dict[Place, int] = {}
    return Params(path, convert(path, root, (), lines), lines)


def section(name: str, model: type[Model], *, path: str | Path = "params.yaml", key: str | None = None) -> Model:
    """One section, checked against its schema; `key` picks an entry of it, as in models.<key>.

    Raises ParamsError with every problem of the section: its key, line, what was expected, the nearest key.
    """
    params = read_params(path)
    place: Place = (name,) if key is None else (name, key)
    values = params.values.get(name)
    if key is not None:
        if not isinstance(values, dict) or key not in values:
            raise ParamsError(f"{path}: {name}.{key} is missing{nearest(key, list(values or []))}")
        values = values[key]
    return check(params, place, {} if values is None else values, model)


def check(params: Params, place: Place, values: Any, model: type[Model]) -> Model:
    """Values against a schema, with lines of the file in every message."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        items = told(params, place, error, model)
        raise ParamsError(problems(f"{params.path} cannot be used", items), items=items) from None


def told(params: Params, place: Place, error: ValidationError, model: type[Model]) -> list[str]:
    """What a schema refused, one line a value: where it stands, what was expected, what it is."""
    lines = []
    for detail in error.errors(include_url=False, include_context=True):
        inner = tuple(part for part in detail["loc"] if not str(part).startswith("function-"))
        where = f"{params.path}:{params.line(place + inner)}: {'.'.join(str(part) for part in place + inner)}"
        if detail["type"] == "extra_forbidden":
            key = str(inner[-1])
            known = field_names(model, inner[:-1])
            meant = f"; did you mean {SYNONYMS[key]}?" if SYNONYMS.get(key) in known else nearest(key, known)
            lines.append(f"{where}: unknown{meant}")
        else:
            message = PLAIN.get(detail["type"]) or detail["msg"].removeprefix("Value error, ")
            meaning = f" ({text})" if (text := description(model, inner)) else ""
            lines.append(f"{where}: {message}; it is {str(detail['input'])[:80]!r}{meaning}")
    return lines


def run_lists(path: str | Path = "params.yaml") -> tuple[list[str], list[int]]:
    """The top-level lists `members` (names of models) and `folds` (numbers), which fan the training out."""
    params = read_params(path)
    members, folds = params.values.get("members"), params.values.get("folds")
    models = params.values.get("models") or {}
    if not isinstance(members, list) or not members:
        raise ParamsError(
            f"{path}:{params.line(('members',))}: members: expected a list of the models to train, such as "
            f"[{next(iter(models), 'cnn')}]; it is {members!r}"
        )
    unknown = [
        f"{path}:{params.line(('members', i))}: members: no {m!r} under models{nearest(str(m), list(models))}"
        for i, m in enumerate(members)
        if m not in models
    ]
    if unknown:
        raise ParamsError(problems(f"{path} cannot be used", unknown), items=unknown)
    odd = [m for m in members if not re.fullmatch(NAME, str(m))]
    if odd:
        line = params.line(("members",))
        raise ParamsError(f"{path}:{line}: {odd[0]!r} becomes a folder: letters, digits and . _ - only, 64 at most")
    if len(set(members)) != len(members):
        raise ParamsError(f"{path}:{params.line(('members',))}: a member is listed twice")
    if not isinstance(folds, list) or folds != list(range(len(folds))) or not folds:
        raise ParamsError(f"{path}:{params.line(('folds',))}: folds: expected [0, 1, 2, ...]; it is {folds!r}")
    return [str(member) for member in members], folds


def convert(path: Path, node: Node, place: Place, lines: dict[Place, int]) -> Any:
    """A YAML node as plain Python values; notes the line of each place on the way."""
    lines[place] = node.start_mark.line + 1
    if node.tag.startswith("!") or node.tag.startswith("tag:yaml.org,2002:python"):
        raise ParamsError(f"{path}:{lines[place]}: YAML tags are not allowed ({node.tag})")
    if len(lines) > LARGEST // 10:
        raise ParamsError(f"{path} expands to more than {LARGEST // 10:,} values; aliases of aliases?")
    if isinstance(node, MappingNode):
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = yaml.SafeLoader("").construct_object(key_node) if isinstance(key_node, ScalarNode) else None
            if not isinstance(key, str | int):
                raise ParamsError(f"{path}:{key_node.start_mark.line + 1}: a key must be plain text")
            line = key_node.start_mark.line + 1
            if key in result:
                raise ParamsError(f"{path}: {key!r} twice (lines {lines[(*place, key)]}, {line})")
            result[key] = convert(path, value_node, (*place, key), lines)
            lines[(*place, key)] = line
        return result
    if isinstance(node, SequenceNode):
        return [convert(path, child, (*place, i), lines) for i, child in enumerate(node.value)]
    return yaml.SafeLoader("").construct_object(node)


def inside(model: type[BaseModel], place: Place) -> type[BaseModel] | None:
    """The schema at a place inside another."""
    for part in place:
        field = model.model_fields.get(str(part))
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        inner = [kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not inner:
            return None
        model = inner[0]
    return model


def field_names(model: type[BaseModel], place: Place) -> list[str]:
    """The keys that a schema knows at a place inside it."""
    found = inside(model, place)
    return list(found.model_fields) if found else []


def description(model: type[BaseModel], place: Place) -> str:
    """What a key means, as its schema says, or ""."""
    found = inside(model, place[:-1]) if place else None
    field = found.model_fields.get(str(place[-1])) if found else None
    return (field.description or "").rstrip(".") if field else ""
