"""The architecture holds: names agree, deps are exactly the imports, packages keep to their floor, data is no code."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.params import LISTS, SECTIONS, read_params, run_lists

ROOT = Path(__file__).parents[1]
PACKAGES = ("stages", "commands", "layouts", "models", "augmentation", "analysis", "storage")
NOUNS = ("layouts", "models", "augmentation", "analysis")
STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
CODE = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_path(name: str) -> Path | None:
    """The file of one of our modules, or None for a library's."""
    if name.split(".", maxsplit=1)[0] not in PACKAGES:
        return None
    path = ROOT / Path(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def imports(path: Path) -> frozenset[str]:
    """Everything that a file imports, at any depth of the code, as dotted names."""
    names: set[str] = set()
    text = path.read_text()
    dynamic = re.findall(r'import_module\(f"(\w+)\.\{', text)  # a registry: the modules that its strings name
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            names.update(f"{package}.{node.value}" for package in dynamic if module_path(f"{package}.{node.value}"))
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            for alias in node.names:
                child = module_path(f"{node.module}.{alias.name}")
                if child and child.name != "__init__.py":
                    names.add(f"{node.module}.{alias.name}")
    return frozenset(names)


def closure(path: Path) -> set[Path]:
    """Our files that running `path` can execute, itself included; empty package files aside."""
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        waiting += [found for name in imports(current) if (found := module_path(name))]
    return {found for found in seen if found.name != "__init__.py"}


def definition(stage: str) -> dict[str, Any]:
    return STAGES[stage].get("do", STAGES[stage])


def code_deps(stage: str) -> set[Path]:
    deps = [ROOT / dep for dep in definition(stage)["deps"] if dep.split("/")[0] in PACKAGES]
    return {file for dep in deps for file in ([dep] if dep.is_file() else sorted(dep.rglob("*.py")))} - {
        path for path in CODE if path.name == "__init__.py"
    }


@pytest.mark.parametrize("stage", STAGES)
def test_one_name_in_every_place(stage: str) -> None:
    assert (ROOT / "stages" / f"{stage}.py").is_file()
    assert definition(stage)["cmd"].startswith(f"exec python -m stages.{stage} ")
    assert stage in (*SECTIONS, "check")


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "check"])
def test_deps_are_exactly_the_imports(stage: str) -> None:
    deps = definition(stage)["deps"]
    assert len(deps) == len(set(deps)), f"dvc.yaml, stage {stage}: a dep is listed twice"
    wanted = closure(ROOT / "stages" / f"{stage}.py")
    listed = code_deps(stage)
    relative = sorted(str(path.relative_to(ROOT)) for path in wanted)
    assert listed == wanted, (
        f"dvc.yaml, stage {stage}: missing {sorted(str(p.relative_to(ROOT)) for p in wanted - listed)}, "
        f"superfluous {sorted(str(p.relative_to(ROOT)) for p in listed - wanted)}; all: {relative}"
    )


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "check"])
def test_templates_that_the_code_reads_are_deps(stage: str) -> None:
    text = "".join(path.read_text() for path in closure(ROOT / "stages" / f"{stage}.py"))
    listed = {dep for dep in definition(stage)["deps"] if "templates" in dep}
    assert ("templates" in text) == bool(listed)


@pytest.mark.parametrize("stage", STAGES)
def test_paths_in_the_command_are_deps_or_outs(stage: str) -> None:
    stage_definition = definition(stage)
    outs = [
        next(iter(out)) if isinstance(out, dict) else out
        for key in ("outs", "metrics", "plots")
        for out in stage_definition.get(key, [])
    ]
    known = [*outs, *stage_definition["deps"]]
    for word in shlex.split(stage_definition["cmd"].replace("${item.", "${").replace("${", "{")):
        path = word.replace("{", "${item.") if "/" in word and "{prepare" not in word else word
        path = path.replace("${item.key}", "${key}")  # of a stage that runs once per key
        if "/" in path:
            assert any(path == place or path.startswith(place + "/") or place.startswith(path) for place in known), path


def test_no_stage_reads_the_hidden_answers() -> None:
    for stage in STAGES:
        assert not any("answers" in dep for dep in definition(stage)["deps"]), stage
    readers = [path.relative_to(ROOT) for path in CODE if "data/answers" in path.read_text()]
    assert {str(path.parent) for path in readers} <= {"commands", "stages"}
    assert {path.name for path in readers} <= {"fetch.py", "score.py"}


def test_paths_are_written_in_dvc_yaml_only() -> None:
    """Stages and nouns take paths as arguments, so that a test can pass its own."""
    pattern = re.compile(r"[\"'](data|submissions|analysis/report|analysis/exploration)/[^\"' ]*[\"']")
    for path in CODE:
        if path.parent.name == "commands":
            continue  # what people run has defaults
        strings = [
            node.value
            for node in ast.walk(strip_docstrings(ast.parse(path.read_text())))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        found = [text for text in strings if pattern.fullmatch(f'"{text}"')]
        assert not found, f"{path.relative_to(ROOT)}: {found}"


def strip_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downwards_only(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    ours = {name.split(".")[0] for name in imports(path)} & set(PACKAGES)
    if package == "storage":
        assert ours <= {"storage"}
    elif package in NOUNS:
        assert ours <= {package, "storage"}
    elif package == "stages":
        assert "commands" not in ours
    if package != "models":
        assert not any(re.match(r"(torch|timm|lightning)\b", name) for name in imports(path)), (
            "only models imports torch"
        )


@pytest.mark.parametrize("stage", ["prepare", "split", "augment", "blend", "submit", "compare"])
def test_only_training_waits_for_torch(stage: str) -> None:
    assert not any(path.is_relative_to(ROOT / "models") for path in closure(ROOT / "stages" / f"{stage}.py"))


def test_no_code_from_data() -> None:
    """Nothing of ours unpickles, evaluates or runs a shell on what a file says."""
    forbidden = re.compile(
        r"(?<![\w.])(pickle\.loads?|joblib\.load|read_pickle|eval|exec|torch\.hub|yaml\.load)\(|shell=True|weights_only=False|allow_pickle=True|trust_remote_code"
    )
    allowed = {"layouts/cifar.py"}  # a restricted unpickler of its own, after the official MD5 matched
    found = [str(path.relative_to(ROOT)) for path in CODE if forbidden.search(path.read_text())]
    assert set(found) <= allowed


def test_params_and_dvc_yaml_are_in_step() -> None:
    params = read_params(ROOT / "params.yaml").values
    assert set(params) <= {*SECTIONS, *LISTS}
    members, folds = run_lists(ROOT / "params.yaml")
    assert members and folds
    tracked = {
        name.split(".")[0] for stage in STAGES for name in definition(stage).get("params", []) if isinstance(name, str)
    }
    assert set(params) - {"fetch"} <= tracked
