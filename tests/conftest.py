"""Shared fixtures: an offline environment, caches that vanish, miniatures built once, the optional shared data."""

import os
import tempfile
from pathlib import Path

_HOME = tempfile.mkdtemp(prefix="climb-tests-")
os.environ.update(
    HF_HOME=_HOME,
    HF_DATASETS_CACHE=f"{_HOME}/datasets",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"),
    MPLBACKEND="Agg",
)
os.environ.pop("CLIMB_DATA", None)

import shutil  # noqa: E402 - the environment must stand before any library reads it

import pytest  # noqa: E402

import climb_hf  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def _clean_home():
    yield
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder `shared` beside the checkout, with small real data; tests that need it are skipped without it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("the folder `shared` with real data does not lie beside this checkout")
    return folder


@pytest.fixture(scope="session")
def real_dir(shared_dir: Path) -> Path:
    """The folder `shared/real`."""
    return shared_dir / "real"


class Miniatures:
    """Miniatures of the session, each written once; tests that change files take a copy."""

    def __init__(self, root: Path) -> None:
        self._root, self._made = root, {}

    def __call__(self, name: str, n: int = 32, seed: int = 0, **options):
        """Return (folder, expected rows) of a miniature."""
        key = (name, n, seed, tuple(sorted(options.items())))
        if key not in self._made:
            folder = self._root / "-".join(map(str, (len(self._made), name)))
            self._made[key] = folder, climb_hf.miniature(name, folder, n=n, seed=seed, **options)
        return self._made[key]

    def copy(self, name: str, target: Path, n: int = 32, seed: int = 0, **options):
        """Return a private copy of a miniature."""
        folder, expected = self(name, n, seed, **options)
        shutil.copytree(folder, target)
        return target, expected


@pytest.fixture(scope="session")
def miniatures(tmp_path_factory) -> Miniatures:
    return Miniatures(tmp_path_factory.mktemp("miniatures"))
