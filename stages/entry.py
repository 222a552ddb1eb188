"""How every stage starts: typer arguments, telemetry off, refusals as one message, dying with its parent."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import typer

from storage.errors import PodiumError, ResourceError, printable

QUIET = {
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "DVC_NO_ANALYTICS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
REMEDIES = {  # of what the system refuses; anything else is a fault of ours and keeps its traceback
    errno.ENOSPC: "free some space, then run it again",
    errno.EDQUOT: "free some space, then run it again",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "see who owns it and who may read and write it",
    errno.EPERM: "see who owns it and who may read and write it",
}
PR_SET_PDEATHSIG = 1


def entry(main: Callable[..., Any]) -> None:
    """Run a stage's `main` as a command; `PODIUM_DEBUG=1` shows the traceback of a refusal."""
    quiet()
    die_with_parent()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    guard(app)


def guard(run: Callable[[], Any]) -> None:
    """Call `run`; a refusal becomes one message on stderr and its exit code."""
    try:
        run()
    except PodiumError as error:
        if os.environ.get("PODIUM_DEBUG"):
            raise
        print(f"podium: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if error.errno not in REMEDIES or os.environ.get("PODIUM_DEBUG"):
            raise
        name = error.filename2 or error.filename  # of a copy: where it goes to
        place = f"{name}: " if name else ""
        print(f"podium: {printable(place)}{error.strerror}; {REMEDIES[error.errno]}", file=sys.stderr)
        sys.exit(ResourceError.exit_code)
    except KeyboardInterrupt:
        print("podium: interrupted; the next run continues", file=sys.stderr)
        sys.exit(130)


def quiet() -> None:
    """Turn telemetry and version checks of the libraries off, unless the person decided otherwise."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def die_with_parent() -> None:
    """On Linux, ask for SIGTERM when the parent (dvc) dies, so that no trainer is left behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
