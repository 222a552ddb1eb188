"""`podium VERB ...`: what people run. Only the verb's own module is imported, so that each starts at once.

A verb is a module `commands/<verb>.py` with a typer-style `main`, or an `app` where it has verbs of its own.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import typer

from stages.entry import guard, quiet
from storage.errors import PodiumError
from storage.names import nearest

VERBS = {
    "start": {
        "init": "look at an unknown folder and propose a layout and a params.yaml",
        "use": "put a recipe's params.yaml in place",
        "fetch": "put a competition's files in place: embedded, found, or from the web",
        "preview": "a contact sheet of what the augmentation does to real images",
    },
    "models": {
        "summary": "parameters, multiply-adds and memory of a model",
        "lr": "find a learning rate for a model",
        "predict": "classify images with the blended members",
        "onnx": "a trained member as ONNX, checked against itself",
    },
    "team": {
        "diff": "where CSVs disagree; exit code 1 if they do",
        "vote": "one submission out of many CSVs",
        "export": "write images into folders, by class, prediction or dispute",
    },
    "submit": {
        "status": "what exists, what it is worth, what to try next",
        "ablation": "what a step of the training gained, on honest scores",
        "score": "a submission on hidden answers, where they are known",
        "submit": "send a submission through the Kaggle CLI, and check that it arrived",
        "ledger": "every submission with its honest score and the board's",
        "pick": "propose the two final submissions by validation",
    },
}
WORDS = {verb: text for group in VERBS.values() for verb, text in group.items()}


def main() -> None:
    """The console script."""
    quiet()
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in ("-h", "--help"):
        show_help()
    elif verb not in WORDS:
        print(f"podium: no verb {verb!r}{nearest(verb, WORDS)} (podium --help shows them all)", file=sys.stderr)
        sys.exit(2)
    else:
        guard(lambda: run(verb, sys.argv[2:]))


def run(verb: str, arguments: list[str]) -> None:
    """Import the verb's module and run it on the arguments."""
    module = importlib.import_module(f"commands.{verb}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(module.main)
    try:
        app(args=arguments, prog_name=f"podium {verb}")
    except PodiumError as error:
        error.args = (f"{error}{elsewhere(Path.cwd())}",)
        raise


def elsewhere(here: Path) -> str:
    """Where the project is, for somebody who stands in one of its sub-folders, else ""."""
    home = next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()), here)
    return (
        "" if home == here else f"\nThis is {here}; podium looks for its files in the folder of dvc.yaml: cd '{home}'"
    )


def show_help() -> None:
    """The table of verbs."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print("[bold]podium[/] VERB ...   from an image competition's files to its winning submission\n")
    for group, verbs in VERBS.items():
        console.print(f"[dim]{group}[/]")
        for verb, text in verbs.items():
            console.print(f"  [bold cyan]{verb:<9}[/] {text}")
    console.print("\nFor example: podium init data/raw/flowers, podium diff mine.csv yours.csv")
    console.print("The pipeline itself: [bold]dvc repro[/]. One verb's options: [bold]podium VERB --help[/]")


if __name__ == "__main__":
    main()
