"""Build the wheel, install it without extras into a fresh environment, and use it there.

    python tools/wheel_smoke.py [--versions pinned|lowest|newest] [--keep FOLDER]

``pinned`` installs the versions of constraints.txt, ``lowest`` the lowest that pyproject.toml allows, ``newest`` what
pip finds. torch is always the version of constraints.txt, so that a CPU build can be used. Needs ``build`` and
``hatchling``, for ``lowest`` also ``uv``, in the environment that runs it.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
LICENCES = ("LICENSE", "NOTICE", "src/potstill/assets/data/ETTh1.LICENSE.txt")
HORIZON = 24
TINY = (
    "--student=chronos2:num_layers=1,d_model=32,num_heads=1,d_kv=16,d_ff=32 --context-length=64"
    f" --prediction-length={HORIZON} --max-steps=2 --batch-size=2 --set=training.eval_windows=2"
    " --set=evaluation.max_windows=2"
).split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", choices=["pinned", "lowest", "newest"], default="pinned")
    parser.add_argument("--keep", type=Path, help="use this folder, which must not exist, and leave it there")
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="potstill-wheel-"))
    folder.mkdir(parents=True, exist_ok=given.keep is None)
    try:
        smoke(folder.resolve(), given.versions)
    finally:
        if given.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def smoke(folder: Path, versions: str) -> None:
    """All steps; each prints a line with its seconds."""
    wheel = step("build the wheel", build, folder)
    step("licences, data and templates are in it", check_contents, wheel)
    python = step(f"install it, {versions} versions", install, folder / "env", wheel, versions)
    potstill = python.parent / "potstill"
    print(f"  {size(folder / 'env'):,.0f} MB", flush=True)
    step("import potstill", run, folder, python, "-c", "import potstill; print(potstill.__version__)")
    said = step("potstill --help", run, folder, potstill, "--help")
    assert "distill" in said, said
    data = write_series(folder / "sales.csv")
    output = folder / "next.csv"
    asked = ("--prediction-length", HORIZON, "--output", output, "--quantiles", "0.1,0.5,0.9")
    step("potstill forecast embedded", run, folder, potstill, "forecast", "embedded", data, *asked)
    check_forecast(output)
    run_folder = folder / "run"
    asked = ("--teacher", "embedded", "--data", data, "--output", run_folder)
    step("potstill distill, two steps", run, folder, potstill, "distill", *asked, *TINY)
    assert (run_folder / "report.html").stat().st_size > 10_000
    print(f"The wheel works with {versions} versions.", flush=True)


def step(what, function, *arguments):
    """Run a step and print how long it took."""
    began = time.monotonic()
    done = function(*arguments)
    print(f"{what}: {time.monotonic() - began:.0f} s", flush=True)
    return done


def build(folder: Path) -> Path:
    """The wheel of this checkout."""
    run(ROOT, sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", ROOT)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """Check that the wheel holds every file of the package and every licence."""
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "potstill").rglob("*")}
    package = {name for name in package if "__pycache__" not in name and (ROOT / "src" / name).is_file()}
    assert package <= names, f"not in the wheel: {sorted(package - names)}"
    (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    missing = {f"{info}/licenses/{name}" for name in LICENCES} - names
    assert not missing, f"not in the wheel: {sorted(missing)}"


def install(env: Path, wheel: Path, versions: str) -> Path:
    """A fresh environment with the wheel; torch is installed first, so that nothing replaces it later."""
    venv.create(env, system_site_packages=False, with_pip=True)
    python = env / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check")
    (torch,) = (line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch=="))
    run(env, *pip, "-c", CONSTRAINTS, torch)
    if versions == "lowest":
        lines = env / "torch.txt"
        lines.write_text(f"{torch}\n")
        uv = (sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python)
        run(env, *uv, "--resolution", "lowest-direct", "-c", lines, "-r", ROOT / "pyproject.toml")
        run(env, *pip, "--no-deps", wheel)
    else:
        run(env, *pip, *(["-c", CONSTRAINTS] if versions == "pinned" else [torch]), wheel)
    run(env, python, "-m", "pip", "check")
    return python


def run(folder: Path, *command: object) -> str:
    """Standard output of a command that must succeed, run where Potstill's source is not on the path."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {"HF_HUB_OFFLINE": "1", "POTSTILL_TRACEBACK": "1", "POTSTILL_CACHE": str(folder / "cache")}
    arguments = [str(part) for part in command]
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}\nended with code {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def write_series(path: Path) -> Path:
    """Twenty days of an hourly wave around 100, with a little noise."""
    noise = random.Random(0)
    rows = [
        f"2024-01-{hour // 24 + 1:02d}T{hour % 24:02d}:00:00,{wave(hour) + noise.gauss(0, 0.3):.4f}\n"
        for hour in range(480)
    ]
    path.write_text("".join(["ds,units\n", *rows]))
    return path


def check_forecast(path: Path) -> None:
    """One row per step, quantiles in order, and the wave continues."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == HORIZON, rows
    for step_ahead, row in enumerate(rows):
        low, middle, high = (float(row[f"q{level}"]) for level in ("0.1", "0.5", "0.9"))
        assert low <= middle <= high, row
        assert abs(middle - wave(480 + step_ahead)) < 3, row


def wave(hour: int) -> float:
    """A day's rise and fall."""
    return 100 + 10 * math.sin(math.tau * hour / 24)


def size(folder: Path) -> float:
    """Megabytes of all files."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


if __name__ == "__main__":
    main()
