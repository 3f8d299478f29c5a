"""The arrows of docs/architecture.md: what may import what, read off the source with ast."""

import ast
import sys
from pathlib import Path

import pytest

import potstill

ROOT = Path(potstill.__file__).parent
GROUND = {"compute", "recipe", "remote", "runs", "ranks", "console", "malloc", "types", "runtime", "errors", "__init__"}
# Each package may import the packages named here, itself, and the ground.
ARROWS: dict[str, set[str]] = {
    "__init__": {"verbs", "families"},  # in functions and for type checkers only: see the test below
    "__main__": {"cli"},
    "cli": {"verbs"},
    "plugins": {"families", "objectives", "teaching", "transfer"},  # what outside packages import; nothing inside does
    "verbs": {
        "exporting",
        "adapters",
        "tasks",
        "training",
        "evaluation",
        "reporting",
        "teaching",
        "transfer",
        "objectives",
        "families",
        "data",
    },
    "adapters": {"tasks", "evaluation", "families", "data"},
    "tasks": {"training", "evaluation", "reporting", "teaching", "transfer", "objectives", "families", "data"},
    "training": {"teaching", "transfer", "objectives", "families", "data"},
    "exporting": {"evaluation", "families", "data"},
    "evaluation": {"objectives", "families", "data"},
    "reporting": {"evaluation"},
    "teaching": {"objectives", "families", "data"},
    "transfer": set(),
    "objectives": set(),
    "families": {"transfer"},
    "data": set(),
    "recipe": set(),
    "remote": set(),
    "runs": set(),
    "ranks": set(),
    "compute": set(),
    "console": set(),
    "malloc": set(),
    "types": set(),
    "runtime": set(),
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
            if node.level == 1 and room_of(path) == "runtime":
                continue  # it is also a distribution of its own, under another name: see the test below
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


@pytest.mark.parametrize("path", sorted((ROOT / "types").glob("*.py")), ids=lambda path: path.name)
def test_types_import_nothing_of_potstills(path: Path):
    assert imports(path) <= {"types", "runtime"}


@pytest.mark.parametrize("path", sorted((ROOT / "runtime").glob("*.py")), ids=lambda path: path.name)
def test_the_runtime_imports_itself_and_no_torch(path: Path):
    """numpy and the standard library; onnxruntime and openvino inside functions."""
    allowed = {"numpy", "onnxruntime", "openvino"} | sys.stdlib_module_names
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= allowed
        if isinstance(node, ast.ImportFrom):
            assert node.level == 1 or (node.module or "").partition(".")[0] in allowed


#: modules of families/ that are no family, each with those of them that it may import
SHARED: dict[str, set[str]] = {
    "__init__": set(),
    "attention": set(),
    "blocks": set(),
    "devices": set(),
    "norm": set(),
    "standardise": set(),
    "precision": {"devices"},
    "recorder": {"attention"},
    "checkpoint": set(),
    "base": {"checkpoint"},
    "sparse": set(),
    "weighting": {"base"},
    "ensemble": {"base", "weighting"},
    "registry": {"base"},
    "places": {"checkpoint", "registry"},
    "load": {
        "base",
        "checkpoint",
        "places",
        "precision",
        "registry",
        "language",
    },  # language: the type of what it returns
}
#: what a family may import beside its own files
FOR_FAMILIES = {"base", "blocks", "checkpoint", "attention", "norm", "recorder", "sparse", "standardise"}
#: a mixture loads its experts, of any family
ALSO = {"experts": {"load"}}


def part_of(module: str) -> str:
    """The part of families/ that a dotted module name is in: a family or one of ``SHARED``."""
    return module.split(".")[2] if module.count(".") > 1 else "__init__"


def modules_imported(path: Path, types: bool = True) -> set[str]:
    """Dotted names of Potstill's modules that a file imports, anywhere in it, or without what only types need."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not types:
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= inside or {node.module}
    return found & MODULES.keys()


def name_of(path: Path) -> str:
    parts = ("potstill", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}


@pytest.mark.parametrize("path", sorted((ROOT / "families").rglob("*.py")), ids=lambda path: name_of(path)[18:])
def test_a_family_imports_no_other_family(path: Path):
    """A folder is one family: its files may import one another."""
    part = part_of(name_of(path))
    allowed = SHARED.get(part, FOR_FAMILIES) | ALSO.get(part, set()) | {part}
    others = {part_of(name) for name in modules_imported(path) if name.startswith("potstill.families.")} - allowed
    assert not others, f"{path.relative_to(ROOT)} imports {sorted(others)}"


def test_modules_import_one_another_in_no_circle():
    """Imports within functions count as well, those for type checkers alone do not."""
    arrows = {name: modules_imported(path, types=False) - {name} for name, path in MODULES.items()}
    assert circle(arrows) is None


def circle(arrows: dict[str, set[str]]) -> list[str] | None:
    """Modules that import one another in a circle, the first again at the end; None where there is none."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str] | None:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return None
        found = next((c for below in sorted(arrows[name]) if (c := visit(below, [*way, name]))), None)
        done.add(name)
        return found

    return next((c for name in sorted(arrows) if (c := visit(name, []))), None)


def test_circles_are_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) is None
    assert circle({"a": {"b", "d"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c", "b"]


def test_no_family_is_named_outside_families():
    """What differs by family is asked of the family: its task, its library, whether TRL's trainer can drive it."""
    names = {path.stem for path in (ROOT / "families").iterdir() if path.stem not in {*SHARED, "__pycache__"}} - {
        "small"
    }
    names |= {path.stem for path in (ROOT / "families" / "small").glob("*.py")} - SMALL_PARTS
    assert "chronos2" in names and "patch_transformer" in names  # noqa: PT018
    found = {
        f"{path.relative_to(ROOT)}: {node.value}"
        for path in FILES
        if room_of(path) != "families"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names - ALSO_OTHER_THINGS
    }
    assert not found


SMALL_PARTS = {"__init__", "base", "family", "layers"}
# a task; a schedule of the learning rate; parts of a mixture; the compared model in a parity table
ALSO_OTHER_THINGS = {"language", "linear", "experts", "exported"}
