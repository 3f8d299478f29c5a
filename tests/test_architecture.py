"""The arrows of docs/architecture.md: what may import what, read off the source with ast."""

import ast
from pathlib import Path

import pytest

import potstill

ROOT = Path(potstill.__file__).parent
GROUND = {"recipe", "runs", "console", "malloc", "types", "errors", "__init__"}
# Each package may import the packages named here, itself, and the ground.
ARROWS: dict[str, set[str]] = {
    "__init__": {"verbs", "families"},  # in functions and for type checkers only: see the test below
    "__main__": {"cli"},
    "cli": {"verbs"},
    "verbs": {"tasks", "training", "evaluation", "reporting", "teaching", "transfer", "objectives", "families", "data"},
    "tasks": {"training", "evaluation", "reporting", "teaching", "transfer", "objectives", "families", "data"},
    "training": {"teaching", "transfer", "objectives", "families", "data"},
    "evaluation": {"objectives", "families", "data"},
    "reporting": {"evaluation"},
    "teaching": {"families", "data"},
    "transfer": set(),
    "objectives": set(),
    "families": {"transfer"},
    "data": set(),
    "recipe": set(),
    "runs": set(),
    "console": set(),
    "malloc": set(),
    "types": set(),
    "errors": set(),
}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The rooms of Potstill that a file imports, anywhere in it."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides its arrow; write potstill.…"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "potstill" else [module]
        for name in names:
            parts = name.split(".")
            if parts[0] == "potstill":
                rooms.add(parts[1] if len(parts) > 1 and (ROOT / parts[1]).is_dir() else _file_room(parts))
    return rooms


def _file_room(parts: list[str]) -> str:
    return parts[1] if len(parts) > 1 and (ROOT / f"{parts[1]}.py").exists() else "__init__"


FILES = sorted(path for path in ROOT.rglob("*.py") if room_of(path) != "assets")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_arrows_point_down(path: Path):
    room = room_of(path)
    assert room in ARROWS, f"{room} is new: give it its arrows here and in docs/architecture.md"
    wrong = imports(path) - ARROWS[room] - GROUND - {room}
    assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_there_is_no_way_back():
    """Following the arrows never comes home again."""
    down = {room: {r for r in rooms if r != room} for room, rooms in ARROWS.items()}

    def visit(room: str, way: tuple[str, ...]) -> None:
        assert room not in way, " → ".join((*way, room))
        for below in down[room]:
            visit(below, (*way, room))

    for room in down:
        visit(room, ())


def test_types_import_nothing_of_potstills():
    assert imports(ROOT / "types.py") == set()


def test_a_family_imports_no_other_family():
    shared = {
        "attention",
        "norm",
        "base",
        "checkpoint",
        "load",
        "registry",
        "__init__",
    }  # a folder is one room: what lies in it may share its files
    for path in (ROOT / "families").rglob("*.py"):
        family = path.relative_to(ROOT / "families").parts[0].removesuffix(".py")
        if family in shared:
            continue
        text = ast.parse(path.read_text(encoding="utf-8"))
        modules = {node.module or "" for node in ast.walk(text) if isinstance(node, ast.ImportFrom)}
        others = {m.split(".")[2] for m in modules if m.startswith("potstill.families.")} - shared - {family}
        assert not others, f"{path} imports {sorted(others)}"
