"""The READMEs' tested blocks run as they stand, in an empty folder with a small file of sales, on a tiny scale."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import potstill
from potstill.cli import main
from potstill.recipe import Recipe

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.zh-CN.md")
BLOCK = re.compile(r"<!-- tested -->\n```(\w+)\n(.*?)```", re.DOTALL)
LENGTHS = "--context-length 32 --prediction-length 24"
# What makes a command small is added behind it; the rest is the README's.
SMALL = {
    "distill": f"{LENGTHS} --stride 40 --max-steps 2 --batch-size 4 --student num_layers=1,d_model=32"
    " --set training.eval_windows=4 --set evaluation.max_windows=4 --set evaluation.baselines=[ridge]",
    "label": f"{LENGTHS} --stride 40 --set student=num_layers=1,d_model=32",
    "evaluate": f"{LENGTHS} --stride 97 --baselines ridge",
}


def blocks(readme: str, language: str) -> list[str]:
    text = (ROOT / readme).read_text(encoding="utf-8")
    return [body for kind, body in BLOCK.findall(text) if kind == language]


@pytest.fixture
def shop(tmp_path: Path, tiny_teacher: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with sales.csv; ``embedded`` is a tiny teacher there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("potstill.families.load.embedded_folder", lambda: tiny_teacher)
    days = [f"2024-{1 + day // 28 % 12:02d}-{1 + day % 28:02d}" for day in range(336)]
    rows = [f"{day},{100 + i % 7 * 5 + i * 7919 % 101 / 20:.2f},{5 + i * 31 % 7}" for i, day in enumerate(days)]
    (tmp_path / "sales.csv").write_text("date,units,returns\n" + "\n".join(rows) + "\n")
    return tmp_path


def test_both_languages_show_the_same_commands():
    english, chinese = (blocks(readme, "bash") for readme in READMES)
    assert english == chinese
    code = [[line.split("#")[0].rstrip() for line in block.splitlines()] for block in blocks(READMES[0], "python")]
    assert code == [
        [line.split("#")[0].rstrip() for line in block.splitlines()] for block in blocks(READMES[1], "python")
    ]


@pytest.mark.parametrize("readme", READMES)
def test_every_link_leads_somewhere(readme: str):
    text = (ROOT / readme).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", text)
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing


def test_commands(shop: Path):
    for line in "".join(blocks("README.md", "bash")).splitlines():
        program, verb, *rest = shlex.split(line)
        assert program == "potstill"
        with pytest.raises(SystemExit) as left:
            main([verb, *rest, *SMALL.get(verb, "").split()])
        assert left.value.code == 0, line
    for name in ("student/config.json", "student/model.safetensors", "report.html", "metrics.json", "log.jsonl"):
        assert (shop / "runs" / "sales" / name).exists()
    assert (shop / "runs" / "compared" / "report.html").exists()
    assert not (shop / "runs" / "plan").exists()
    header, first, *_ = (shop / "next.csv").read_text().splitlines()
    assert header.replace('"', "") == "unique_id,date,q0.1,q0.5,q0.9"
    assert "2024-" in first or "2025-" in first


def test_python(shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The block as it stands; only what it does not say is made smaller, and its steps fewer."""
    whole = potstill.distill

    def distill(**options: Any) -> Path:
        small = {
            "data.context_length": 32,
            "data.prediction_length": 24,
            "data.stride": 40,
            "training.batch_size": 4,
            "training.eval_windows": 4,
            "evaluation.max_windows": 4,
            "evaluation.baselines": [],
            "student.overrides": {"num_layers": 1, "d_model": 32},
        }
        given: dict[str, Any] = {**options, "max_steps": 2}
        return whole(Recipe.read(None, small), **given)

    monkeypatch.setattr(potstill, "distill", distill, raising=False)
    (block,) = blocks("README.md", "python")
    exec(compile(block, "README.md", "exec"), {})
    assert re.search(r"torch\.Size\(\[1, \d+, 24\]\)", capsys.readouterr().out)
