"""The house rules, read from the code itself: who may import whom, and what nobody may do."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from graphlib import TopologicalSorter
from pathlib import Path
from typing import get_args

import pytest

import sfumato
from sfumato.diffusion import SAMPLERS, SCHEDULES, TARGETS
from sfumato.interfaces.cli.generate import SamplerName
from sfumato.interfaces.cli.train import NetworkName, Size
from sfumato.training import sections
from sfumato.training.law import LAW

SOURCE = Path(__file__).parents[1] / "src" / "sfumato"
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST = 350  # lines of a file

#: What stands on every floor: it imports nothing of ours but itself.
GROUND = {"cores", "errors", "locale", "__version__"}

#: Room -> the rooms it may import (besides itself and the ground floor).  Downwards only.
ROOMS: dict[str, set[str]] = {
    "diffusion": set(),
    "networks": {"diffusion", "conditioning"},
    "conditioning": {"diffusion", "networks"},
    "data": {"diffusion"},
    "pictures": {"diffusion"},
    "device": set(),
    "manifest": set(),
    # modules between the rooms: what a recipe says becomes modules, a model, a folder
    "architecture": {"diffusion", "networks", "conditioning", "training.sections"},
    "card": {"conditioning.locate", "data", "training.recipe", "training.sections"},
    "storage": {
        "diffusion", "networks", "conditioning", "architecture", "card", "manifest",
        "training.files", "training.law", "training.recipe", "training.sections",
    },
    "model": {
        "diffusion", "networks", "conditioning", "pictures", "architecture", "device", "storage",
        "training.sections", "training.unfinished",
    },
    "training": {
        "diffusion", "networks", "conditioning", "data", "pictures",
        "architecture", "device", "model", "storage",
    },
    "evaluation": {
        "diffusion", "networks", "conditioning", "data", "pictures",
        "architecture", "device", "manifest", "model", "storage", "training",
    },
    "interfaces": {
        "diffusion", "networks", "conditioning", "data", "pictures",
        "architecture", "card", "device", "model", "storage", "training", "evaluation",
    },
    "__init__": {"model", "training"},
    "__main__": {"interfaces"},
}  # fmt: skip


def room_of(module: str) -> str:
    """sfumato.training.recipe -> training."""
    return module.split(".")[1] if "." in module else "__init__"


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def modules_imported(tree: ast.AST, module: str) -> Iterator[str]:
    """Every module of ours that is imported anywhere in the file, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "sfumato")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively: write the whole name"
            if (node.module or "").split(".")[0] == "sfumato":
                for alias in node.names:
                    below = SOURCE.parent.joinpath(*node.module.split("."), alias.name)
                    is_module = below.with_suffix(".py").exists() or below.is_dir()
                    whole = node.module == "sfumato" or is_module
                    yield f"{node.module}.{alias.name}" if whole else node.module


def allowed(importer: str, imported: str) -> bool:
    here, there = room_of(importer), room_of(imported)
    if there in GROUND:
        return True
    if here in GROUND:
        return False
    if there == here:
        return True
    below = ROOMS[here]
    return there in below or any(imported.startswith(f"sfumato.{name}") for name in below)


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text("utf-8")) for path in FILES}


def test_there_is_something_to_read():
    assert len(FILES) > 50
    assert {room_of(module_of(path)) for path in FILES} - GROUND <= set(ROOMS)


def test_imports_point_downwards_only(trees):
    upwards = [
        f"{module_of(path)} imports {imported}"
        for path, tree in trees.items()
        for imported in modules_imported(tree, module_of(path))
        # the package itself holds the version and the lazy names of the public face
        if imported != "sfumato" and not allowed(module_of(path), imported)
    ]
    assert not upwards, "\n".join(upwards)


def test_no_circles(trees):
    """Not even through an import inside a function."""
    modules = {module_of(path) for path in trees}
    graph = {
        module_of(path): {
            name if name in modules else name.rpartition(".")[0]
            for name in modules_imported(tree, module_of(path))
        }
        - {module_of(path)}
        for path, tree in trees.items()
    }
    order = list(TopologicalSorter(graph).static_order())  # CycleError names the circle
    assert modules <= set(order)


def test_only_the_interfaces_use_the_public_face(trees):
    users = {
        module_of(path)
        for path, tree in trees.items()
        if "sfumato" in set(modules_imported(tree, module_of(path)))
    }
    assert all(room_of(module) == "interfaces" for module in users), users


@pytest.mark.parametrize(
    ("importer", "imported", "may"),
    [
        ("sfumato.diffusion.loss", "sfumato.errors", True),
        ("sfumato.diffusion.loss", "sfumato.diffusion.schedule", True),
        ("sfumato.diffusion.loss", "sfumato.networks.layers", False),
        ("sfumato.networks.layers", "sfumato.training.ema", False),
        ("sfumato.networks.layers", "sfumato.conditioning.condition", True),
        ("sfumato.data.sources.folder", "sfumato.training.files", False),
        ("sfumato.model", "sfumato.interfaces.cli.app", False),
        ("sfumato.model", "sfumato.training.trainer", False),
        ("sfumato.model", "sfumato.training.sections", True),
        ("sfumato.training.run", "sfumato.interfaces.cli.console", False),
        ("sfumato.interfaces.cli.train", "sfumato.training.run", True),
        ("sfumato.errors", "sfumato.locale", True),
        ("sfumato.errors", "sfumato.diffusion.loss", False),
    ],
)
def test_the_rule_itself_can_say_no(importer, imported, may):
    assert allowed(importer, imported) is may


FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


def dangers(tree: ast.AST) -> Iterator[str]:
    """Ways to run what a stranger wrote."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        yield from (name for name in names if name.split(".")[0] in FORBIDDEN_MODULES)
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id in FORBIDDEN_CALLS:
            yield f"{function.id}()"
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            name = f"{function.value.id}.{function.attr}"
            if name in {"torch.load", "torch.save", "os.system", "os.popen", "yaml.load"}:
                yield name
        for keyword in node.keywords:
            value = keyword.value
            constant = value.value if isinstance(value, ast.Constant) else "an expression"
            if (keyword.arg == "shell" and constant is not False) or (
                keyword.arg == "allow_pickle" and constant is not False
            ):
                yield f"{keyword.arg}={constant}"


def test_nothing_is_unpickled_evaluated_or_given_to_a_shell(trees):
    found = [f"{path}: {danger}" for path, tree in trees.items() for danger in dangers(tree)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('x')",
        "eval('1')",
        "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=flag)",
        "np.load('x', allow_pickle=True)",
    ],
)
def test_dangers_are_seen(code):
    assert list(dangers(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["model.eval()", "subprocess.run(['ls'], shell=False)", "re.compile('a')"]
)
def test_the_harmless_is_not_accused(code):
    assert not list(dangers(ast.parse(code)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_is_short_enough_to_read_at_once(path):
    lines = path.read_text("utf-8").count("\n")
    assert lines <= LONGEST, f"{lines} lines: cut it into two files with one job each"


def described(node: ast.ClassDef) -> set[str]:
    """Names of a class's methods that have a docstring."""
    return {
        member.name
        for member in node.body
        if isinstance(member, ast.FunctionDef) and ast.get_docstring(member)
    }


def is_contract(node: ast.ClassDef) -> bool:
    """Whether a class only says what others must do."""
    return bool({ast.unparse(base).split(".")[-1] for base in node.bases} & {"Protocol", "ABC"})


def contracts(trees: Iterable[ast.Module]) -> set[str]:
    """Methods that a protocol or an abstract class describes once for all who keep it."""
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    return {name for node in classes if is_contract(node) for name in described(node)}


def undocumented(tree: ast.Module, contracts: AbstractSet[str] = frozenset()) -> Iterator[str]:
    """Public functions, classes and methods without a docstring, those of a contract excepted."""
    if not ast.get_docstring(tree):
        yield "the module"
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield node.name
        for member in node.body if isinstance(node, ast.ClassDef) else []:
            if (
                isinstance(member, ast.FunctionDef)
                and not member.name.startswith("_")
                and not ast.get_docstring(member)
                and (member.name not in contracts or is_contract(node))
            ):
                yield f"{node.name}.{member.name}"


DIFFUSION = sorted((SOURCE / "diffusion").glob("*.py"))


@pytest.mark.parametrize("path", DIFFUSION, ids=lambda path: path.name)
def test_the_mathematics_is_documented(path):
    known = contracts(ast.parse(each.read_text("utf-8")) for each in DIFFUSION)
    missing = list(undocumented(ast.parse(path.read_text("utf-8")), known))
    assert not missing, f"{path.name}: no docstring for {', '.join(missing)}"


def test_missing_docstrings_are_seen():
    code = '"""M."""\ndef f(): pass\nclass A:\n    """A."""\n    def g(self): pass\n'
    assert list(undocumented(ast.parse(code))) == ["f", "A.g"]
    assert list(undocumented(ast.parse("x = 1"))) == ["the module"]
    kept = (
        'class A(Protocol):\n    def g(self):\n        """G."""\nclass B:\n    def g(self): pass\n'
    )
    assert contracts([ast.parse(kept)]) == {"g"}
    assert list(undocumented(ast.parse('"""M."""\n' + kept), {"g"})) == ["A", "B"]


@pytest.mark.parametrize(
    "statement",
    [
        "import sfumato",
        "import sfumato; dir(sfumato); sfumato.__version__",
        "import sfumato.errors",
    ],
)
def test_importing_the_package_does_not_import_torch(statement):
    code = f"import sys; {statement}; assert not {{'torch', 'numpy'}} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def choices(section: type, field: str) -> set[str]:
    """The names that a recipe allows in a field."""
    return set(get_args(section.model_fields[field].annotation))


def test_a_name_is_the_same_everywhere():
    """Names are written down again where they must not cost an import of torch."""
    assert choices(sections.Sampling, "sampler") == set(SAMPLERS)
    assert {name.value for name in SamplerName} == set(SAMPLERS)
    assert choices(sections.Diffusion, "schedule") <= set(SCHEDULES)
    assert choices(sections.Diffusion, "target") == {"auto", *TARGETS}
    assert {name.value for name in NetworkName} == choices(sections.Network, "name")
    assert {size.value for size in Size} == set(get_args(sections.Size)) == set(LAW)


def test_the_version_is_the_same_everywhere():
    root = SOURCE.parents[1]
    for name, line in {
        "pyproject.toml": f'version = "{sfumato.__version__}"',
        "CITATION.cff": f"version: {sfumato.__version__}",
        "CHANGELOG.md": f"## [{sfumato.__version__}]",
    }.items():
        assert f"\n{line}" in (root / name).read_text("utf-8"), name
