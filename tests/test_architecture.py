"""What may not import what: the storeys of the house, and no circles in it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from proof.harness import ROOT

PACKAGES = ("lwbafa", "app", "training", "bench", "proof", "model_store")
HTTP = ("starlette", "fastapi", "uvicorn", "httpx", "requests", "aiohttp", "http", "urllib")

NEVER = {
    "the library knows no service, no HTTP and no event loop": (
        "lwbafa",
        (*("app", "training", "bench", "proof", "tests"), "asyncio", "pydantic_settings", *HTTP),
    ),
    "the library does not know its client": ("lwbafa", ("lwbafa.client",)),
    "a checkpoint knows no engine": ("lwbafa.checkpoint", ("lwbafa.engine",)),
    "an engine knows no settings": ("lwbafa.engine", ("app", "pydantic_settings")),
    "a detector knows no settings": ("lwbafa.detection", ("app", "pydantic_settings")),
    "training knows no service": ("training", ("app", "bench", "proof", "tests")),
    "the service knows no tools": ("app", ("training", "bench", "proof", "tests")),
    "metrics know no batching": ("app.metrics", ("app.batching",)),
    "batching knows no network, no image and no HTTP": (
        "app.batching",
        ("torch", "numpy", "cv2", "PIL", "lwbafa.imaging", "lwbafa.network", "app.api", *HTTP),
    ),
    "proofs lean on no test": ("proof", ("tests",)),
    "proofs lean on no bench": ("proof", ("bench",)),
}
"""A rule: which modules, and what they never import, directly or inside a function."""

ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}
"""The ways to read an environment variable, all of `os`."""

TORCH_IN = ("lwbafa.network", "lwbafa.engine.torch_engine", "lwbafa.engine.cuda_engine")
TORCH_WHEN_ASKED_IN = ("lwbafa.checkpoint", "lwbafa.engine.choose", "app.cli")
"""Modules that may import PyTorch: at their head, or inside a function only."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> dict[str, str]:
    """Every module of the repository by its name."""
    return {
        module_name(path): path.read_text()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }


def imports(source: str, *, at_the_head: bool = False) -> Iterator[str]:
    """What a module imports, as full names; types alone do not count.

    `from a import b` is both `a` and `a.b`, since b may be a module.
    """
    for node in _nodes(ast.parse(source), at_the_head):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "imports name their module in full: no rule sees `from . import`"
            assert not node.level, (
                "imports name their module in full: no rule sees `from .a import`"
            )
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _nodes(tree: ast.AST, at_the_head: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            child = ast.Module(child.orelse, [])
        if at_the_head and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield child
        yield from _nodes(child, at_the_head)


def reads_environment(source: str) -> bool:
    """Whether a module mentions what reads an environment variable.

    A line that tells another library a default of ours, and does nothing with what was there, is
    no reading.
    """
    tree = ast.parse(source)
    telling = {
        node.value.func.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr == "setdefault"
    }
    return any(
        (isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT and node not in telling)
        or (isinstance(node, ast.alias) and node.name in ENVIRONMENT)
        for node in ast.walk(tree)
    )


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


SPEAKS_HTTP = "lwbafa.client"
"""The one module of the library that may: it is for users of the service, who have the library's
types then. Nothing imports it, so whoever aligns in process needs no httpx."""


def broken(modules: dict[str, str], where: str, never: tuple[str, ...]) -> list[str]:
    """`module imports name` for every import that a rule forbids."""
    return [
        f"{module} imports {name}"
        for module, source in modules.items()
        if within(module, (where,))
        for name in imports(source)
        if within(name, never) and not allowed(module, name)
    ]


def allowed(module: str, name: str) -> bool:
    """Whether it is the exception to the rule about the library."""
    return module == SPEAKS_HTTP and within(name, ("httpx", "asyncio"))


def circles(modules: dict[str, str]) -> list[list[str]]:
    """Modules that import each other at their heads, directly or through others."""
    needs = {
        module: {name for name in imports(source, at_the_head=True) if name in modules} - {module}
        for module, source in modules.items()
    }
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in done:
            for needed in sorted(needs[module]):
                visit(needed, [*path, module])
            done.add(module)

    for module in sorted(needs):
        visit(module, [])
    return found


@pytest.mark.parametrize("rule", NEVER)
def test_never(rule: str) -> None:
    where, never = NEVER[rule]
    modules = sources()
    assert any(within(module, (where,)) for module in modules), f"{where} is gone"
    assert broken(modules, where, never) == []


def test_pytorch_is_imported_only_where_an_engine_needs_it() -> None:
    torch = ("torch", "safetensors", *TORCH_IN)
    for module, source in sources().items():
        if not within(module, ("lwbafa", "app")) or within(module, TORCH_IN):
            continue
        found = {name for name in imports(source) if within(name, torch)}
        at_the_head = {name for name in imports(source, at_the_head=True) if within(name, torch)}
        assert not at_the_head, (module, at_the_head)
        assert not found or module in TORCH_WHEN_ASKED_IN, (module, found)


def test_the_library_reads_no_environment_variable() -> None:
    modules = sources()
    reading = {module for module, source in modules.items() if reads_environment(source)}
    assert [module for module in reading if within(module, ("lwbafa",))] == []
    assert reading, "the tools do, so the rule sees something"


def test_no_modules_import_each_other() -> None:
    assert circles(sources()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.environ['A']",
        "from os import getenv as g",
        "def f():\n    import os\n    return os.getenv('A')",
        "import os\na = os.environ.setdefault('A', '1')",
    ],
)
def test_reading_the_environment_is_found(source: str) -> None:
    assert reads_environment(source)
    assert not reads_environment("import os\nos.cpu_count()")
    assert not reads_environment("import os\nos.environ.setdefault('A', '1')")


@pytest.mark.parametrize("source", ["from . import a", "from .a import b", "from .. import a"])
def test_an_import_that_no_rule_would_see_is_refused(source: str) -> None:
    with pytest.raises(AssertionError, match="in full"):
        list(imports(source))


def test_a_broken_rule_and_a_circle_are_found() -> None:
    modules = {
        "lwbafa.a": "def f():\n    from app import settings\n",
        "lwbafa.b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import app\n",
        "lwbafa.c": "if TYPE_CHECKING:\n    import app\nelse:\n    import app.x\n",
        "lwbafa.client": "import httpx, uvicorn",
        "lwbafa.d": "import httpx",
        "app.c": "import app.d",
        "app.d": "from app import c",
        "app.e": "def f():\n    import app.c",
    }
    assert broken(modules, "lwbafa", ("app",)) == [
        "lwbafa.a imports app",
        "lwbafa.a imports app.settings",
        "lwbafa.c imports app.x",
    ]
    assert broken(modules, "lwbafa", HTTP) == [
        "lwbafa.client imports uvicorn",
        "lwbafa.d imports httpx",
    ]
    assert circles(modules) == [["app.c", "app.d", "app.c"]]
