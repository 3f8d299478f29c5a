"""Build the wheel of potstill-runtime, install it with numpy and onnxruntime alone, and use it there.

    python tools/runtime_smoke.py

Exports small models of each kind with this environment's Potstill; the other environment must not have torch, pandas or
transformers, and importing, loading and forecasting must not try to import them. Needs ``build``, ``hatchling`` and
``uv``.
"""

from __future__ import annotations

import csv
import math
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from wheel_smoke import CONSTRAINTS, ROOT, run, step

PACKAGE = ROOT / "packages" / "potstill-runtime"
MAX_BYTES = 1_000_000
MAX_COLD, COLD_STARTS = 0.4, 5  # seconds, the fastest of five processes
HORIZON = 12
ABSENT = ("torch", "pandas", "transformers", "potstill", "scipy")

EXPORT = """
import sys
from pathlib import Path
from exported_models import MIXTURE, NAMES, SIZES, build, build_mixture, export
for name in NAMES:
    export(build(name), Path(name))
export(build_mixture(), Path(MIXTURE))
SIZES["patch_transformer"] = {}  # the default: 1.2 M parameters
export(build("patch_transformer", 256), Path("student"))
"""
COLD = """
import time
start = time.perf_counter()
import sys
import numpy as np
from potstill_runtime import Runtime
Runtime(sys.argv[1]).predict(np.arange(100.0)).quantiles
print(time.perf_counter() - start)
"""
USE = """
import importlib.util, sys
import numpy as np
absent = sys.argv[1].split(",")
tried = []
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            tried.append(name)
sys.meta_path.insert(0, Watch())
from potstill_runtime import ExportError, Runtime
for folder in sys.argv[2:]:
    runtime = Runtime(folder, threads=1)
    wave = np.sin(np.arange(90) / 4)
    found = runtime.predict([wave, 1e9 + wave[:5]], 60)
    assert found.quantiles.shape == (2, len(runtime.levels), 60), found.quantiles.shape
    assert np.isfinite(found.quantiles).all() and np.isfinite(found.mean).all()
    print(folder, runtime.manifest.family)
try:
    Runtime("nowhere")
except ExportError as error:
    print(error)
assert not tried, f"tried to import {tried}"
assert not set(absent) & {name.partition(".")[0] for name in sys.modules}
assert not [name for name in absent if importlib.util.find_spec(name)], "not a clean environment"
"""


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="potstill-runtime-"))
    try:
        smoke(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def smoke(folder: Path) -> None:
    """All steps; each prints a line with its seconds."""
    wheel = step("build the source distribution, and the wheel from it", build, folder / "dist")
    step("the wheel holds the runtime and the licence", check_contents, wheel)
    python = step("install it", install, folder / "env", wheel)
    models = step("export a model of each kind", export, folder)
    print(step("load and forecast", run, folder, python, "-c", USE, ",".join(ABSENT), *models), end="", flush=True)
    cold = min(float(run(folder, python, "-c", COLD, "student")) for _ in range(COLD_STARTS))
    print(f"import, load and first forecast of a student of 1.2 M parameters: {cold:.2f} s", flush=True)
    assert cold < MAX_COLD, cold
    command = python.parent / "potstill-runtime"
    data = folder / "sales.csv"
    data.write_text("date,sold\n" + "".join(f"2024-01-{day:02d},{100 + day % 7}\n" for day in range(1, 31)))
    for model in models:
        output = folder / "next.csv"
        asked = ("--prediction-length", HORIZON, "--output", output, "--quantiles", "0.1,0.5,0.9")
        step(f"potstill-runtime forecast {model}", run, folder, command, "forecast", model, data, *asked)
        check_forecast(output)
    print(run(folder, command, "info", models[0]), end="")
    print(f"potstill-runtime works: {wheel.stat().st_size / 1000:.0f} kB.", flush=True)


def build(folder: Path) -> Path:
    """The wheel, from the source distribution of this checkout."""
    run(ROOT, sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, PACKAGE)
    (wheel,) = folder.glob("*.whl")
    assert len(list(folder.glob("*.tar.gz"))) == 1
    return wheel


def check_contents(wheel: Path) -> None:
    """Check that the wheel holds every file of the runtime, and is small."""
    names = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src" / "potstill" / "runtime"
    wanted = {f"potstill_runtime/{path.name}" for path in source.iterdir() if path.is_file()}
    assert wanted <= names, f"not in the wheel: {sorted(wanted - names)}"
    assert any(name.endswith("licenses/LICENSE") for name in names), names
    assert wheel.stat().st_size < MAX_BYTES, wheel.stat().st_size


def install(env: Path, wheel: Path) -> Path:
    """A fresh environment with the wheel and what it needs, in the constraints' versions, compiled as by pip."""
    uv = (sys.executable, "-m", "uv")
    run(env.parent, *uv, "venv", "--quiet", "--python", sys.executable, env)
    python = env / "bin" / "python"
    run(
        env.parent, *uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, "-c", CONSTRAINTS, wheel
    )
    return python


def export(folder: Path) -> list[str]:
    """Folders of exported models, made by the tests' models in this environment."""
    source = f"import sys; sys.path[:0] = [{str(ROOT / 'src')!r}, {str(ROOT / 'tests' / 'runtime')!r}]\n{EXPORT}"
    ran = subprocess.run([sys.executable, "-c", source], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return sorted(path.parent.name for path in folder.glob("*/export.json"))


def check_forecast(path: Path) -> None:
    """One row per step after the last one of the data, quantiles in order."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["date"] for row in rows] == ["2024-01-31", *(f"2024-02-{day:02d}" for day in range(1, HORIZON))], rows
    for row in rows:
        low, middle, high = (float(row[f"q{level}"]) for level in ("0.1", "0.5", "0.9"))
        assert low <= middle <= high, row
        assert math.isfinite(low + high)


if __name__ == "__main__":
    main()
