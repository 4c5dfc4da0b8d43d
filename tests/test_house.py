"""The order of the packages: what is imported lies below, and nothing imports in a circle."""

import ast

from tests.conftest import ROOT

FLOORS = [  # from the top; rooms of one floor don't know each other
    ("experiments",),
    ("vaejax",),  # its __init__, which names what there is
    ("vaejax.testing", "vaejax.experiment"),
    ("vaejax.report",),
    ("vaejax.plots",),
    ("vaejax.apply",),
    ("vaejax.metrics",),
    ("vaejax.training",),
    ("vaejax.storage",),
    ("vaejax.methods",),
    ("vaejax.networks", "vaejax.objectives"),
    ("vaejax.data", "vaejax.distributions", "vaejax.analysis"),
    ("vaejax.method", "vaejax.hyper", "vaejax.target", "vaejax.compiled"),
    ("vaejax.errors",),
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module):
    """The room that a module lies in."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "vaejax" and ".".join(parts[:2]) in FLOOR else parts[0]


def modules():
    """Every module of the library and the experiments: its name and its file."""
    for path in sorted([*ROOT.glob("vaejax/**/*.py"), *ROOT.glob("experiments/**/*.py")]):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path, names):
    """The modules of ours that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in ("vaejax", "experiments"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("vaejax", "experiments"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in names else node.module


def test_imports_run_down():
    names = {name for name, _ in modules()}
    up = []
    for name, path in modules():
        here = room_of(name)
        for other in imports(path, names):
            there = room_of(other)
            if there != here and FLOOR[there] <= FLOOR[here]:
                up.append(f"{name} imports {other}")
    assert not up, "\n".join(up)


def test_no_two_modules_import_each_other_in_a_circle():
    names = {name for name, _ in modules()}
    graph = {name: {other for other in imports(path, names) if other != name} for name, path in modules()}
    done, trail = set(), []

    def visit(name):
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name in done:
            return
        trail.append(name)
        for other in sorted(graph.get(name, ())):
            visit(other)
        trail.pop()
        done.add(name)

    for name in sorted(graph):
        visit(name)


def test_the_root_is_small_and_every_room_has_a_floor():
    rooms = {
        path.stem for path in (ROOT / "vaejax").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert {f"vaejax.{room}" for room in rooms - {"__init__"}} == {room for room in FLOOR if "." in room}
