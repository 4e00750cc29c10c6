"""Builds the wheel from a clean copy of the checkout and installs it where nothing of the checkout can be seen."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 600
LEFT_BEHIND = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "var", "*.db*", "site")


@attrs.frozen
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str


@attrs.frozen
class Environment:
    """A virtual environment into which the wheel was installed, as any user would."""

    home: Path

    def python(self, *arguments: str, cwd: Path, **variables: str) -> Ended:
        """Run the environment's ``python`` in a directory."""
        return self.run("python", *arguments, cwd=cwd, **variables)

    def flowkit(self, *arguments: str, cwd: Path, **variables: str) -> Ended:
        """Run the installed command ``flowkit`` in a directory."""
        return self.run("flowkit", *arguments, cwd=cwd, **variables)

    def run(self, program: str, *arguments: str, cwd: Path, **variables: str) -> Ended:
        """Run a program of the environment; of the outer variables it sees none but PATH and those given."""
        bin_ = self.home / "bin"
        path = os.pathsep.join([str(bin_), os.environ.get("PATH", os.defpath)])
        clean = {"PATH": path, "HOME": str(self.home), "LANG": "C.UTF-8", "COLUMNS": "80"}
        return ended([str(bin_ / program), *arguments], cwd, {**clean, **variables})


def ended(command: list[str], cwd: Path, variables: dict[str, str]) -> Ended:
    """Run a command to its end."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@attrs.frozen
class Workshop:
    """Makes the wheel and environments with it, each once for all workers of a test session."""

    place: Path

    def wheel(self) -> Path:
        """Return the wheel, built from a copy of the checkout without what earlier builds left in it."""
        place = self._made("wheel", self._build)
        return next(place.glob("*.whl"))

    def environment(self, name: str, *, extras: str = "", others: tuple[str, ...] = ()) -> Environment:
        """Return the environment of this name: the wheel with these extras, and what else is asked for.

        Args:
            extras: as between the brackets of a requirement: ``"postgres,cli"``; none is the core alone.
            others: requirements that pip understands.
        """
        wheel = f"{self.wheel()}[{extras}]" if extras else str(self.wheel())
        return Environment(self._made(f"environment-{name}", lambda place: self._install(place, wheel, *others)))

    def _build(self, place: Path) -> None:
        checkout = place / "checkout"
        shutil.copytree(ROOT, checkout, ignore=LEFT_BEHIND)
        _do(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place), str(checkout))

    def _install(self, place: Path, *requirements: str) -> None:
        # Some distributions ship venv without ensurepip; the interpreter's own pip helps out, as in the Makefile.
        _do(sys.executable, "-m", "venv", "--without-pip", str(place))
        python = str(place / "bin" / "python")
        library = _do(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        _do(sys.executable, "-m", "pip", "install", "--quiet", "--target", library, "pip")
        _do(python, "-m", "pip", "install", "--quiet", *requirements)

    def _made(self, name: str, make: Callable[[Path], None]) -> Path:
        place, done = self.place / name, self.place / f"{name}.done"
        with _locked(self.place / f"{name}.lock"):
            if not done.exists():
                # What is there without the mark was left by a maker that failed.
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir(parents=True)
                make(place)
                done.touch()
        return place


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _do(*command: str) -> str:
    # pip keeps the variables that tell it where packages come from, and no others that Python obeys.
    variables = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    done = ended(list(command), Path("/"), variables)
    assert done.code == 0, f"{' '.join(command)}\n{done.out}{done.err}"
    return done.out
