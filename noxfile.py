"""Every check of this repository: `nox` runs the default sessions, `nox -l` lists them all."""

import os
import shutil
import time
import zipfile
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
RUN_TIME = PYPROJECT["project"]["dependencies"]
IN_CI = bool(os.environ.get("CI"))

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_external_run = True
nox.options.reuse_existing_virtualenvs = not IN_CI
nox.options.sessions = ["lint", "types", "imports", "tests", "docs"]

# What runs only where PyTorch is: the session `live` demands that its tests cover it, and the others leave it out.
NEEDS_TORCH = ",".join(
    sorted(str(path.relative_to(ROOT)) for path in (ROOT / "cnnbudget" / "interop" / "torch").glob("[!_]*.py"))
)

# Keeps the working directory off sys.path, in child processes too: without it
# `python -m` in the checkout imports the checkout, whatever is installed.
INSTALLED_ONLY = {"PYTHONSAFEPATH": "1", "CNNBUDGET_EXPECT_INSTALLED": "1"}


def group(name: str) -> list[str]:
    """Requirements of one of pyproject.toml's dependency groups."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


def install_wheel(session: nox.Session, *requirements: str, extra: str = "") -> None:
    """Build the wheel and install it, beside `requirements`, as a user would get it."""
    folder = Path(session.create_tmp()).resolve() / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("cnnbudget-*.whl")
    session.install(f"{wheel}{extra}", *requirements)
    # In a reused environment pip keeps what has the same version, so the wheel goes in by force.
    session.install("--force-reinstall", "--no-deps", str(wheel))
    where = session.run("python", "-c", "import cnnbudget; print(cnnbudget.__file__)", env=INSTALLED_ONLY, silent=True)
    if not Path(str(where).strip()).is_relative_to(Path(session.virtualenv.location).resolve()):
        session.error(f"not the installed package: {where}")


def run_tests(session: nox.Session, profile: str) -> None:
    """Run the test suite against the installed wheel and demand full coverage."""
    install_wheel(session, *group("tests"), extra="[testing]")
    env = {**INSTALLED_ONLY, "HYPOTHESIS_PROFILE": profile}
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "--ignore=tests/live", "-m", "not live", *session.posargs, env=env)
    session.run("coverage", "combine", "--quiet")
    # A part of the suite, asked for by posargs, cannot cover the whole.
    session.run("coverage", "report", f"--omit={NEEDS_TORCH}", *(["--fail-under=0"] if session.posargs else []))


@nox.session
def lint(session: nox.Session) -> None:
    """Rules and formatting."""
    session.install(*group("lint"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check", *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """Type-check the package and the typing tests."""
    session.install(*RUN_TIME, *group("types"))
    session.run("mypy", *session.posargs)


@nox.session
def imports(session: nox.Session) -> None:
    """Check which module may import which."""
    session.install(*group("imports"))
    session.run("lint-imports", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests against the built wheel; HYPOTHESIS_PROFILE picks the profile."""
    run_tests(session, os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if IN_CI else "dev"))


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, warnings being errors, and run its examples."""
    shutil.rmtree(ROOT / "docs" / "_build", ignore_errors=True)  # a page not rebuilt would not warn again
    install_wheel(session, *group("docs"), extra="[testing]")
    for builder in ("html", "doctest"):
        session.run(
            *("sphinx-build", "-n", "-W", "--keep-going", "-b", builder),
            *session.posargs,
            *("docs", f"docs/_build/{builder}"),
            env=INSTALLED_ONLY,
        )


@nox.session
def live(session: nox.Session) -> None:
    """Compare with torch itself, and demand that whatever needs it is covered."""
    if not (ROOT / "tests" / "live").is_dir():
        session.skip("there is no tests/live")
    session.install("torch==2.13.0")
    install_wheel(session, *group("tests"), extra="[testing]")
    env = {**INSTALLED_ONLY, "HYPOTHESIS_PROFILE": os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if IN_CI else "dev")}
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "-m", "live", "tests/live", *session.posargs, env=env)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report", f"--include={NEEDS_TORCH}", *(["--fail-under=0"] if session.posargs else []))


@nox.session
def extras(session: nox.Session) -> None:
    """Hand results to pandas, polars, Arrow and tqdm, and run a sweep on a local Dask cluster."""
    install_wheel(session, *group("extras"), extra="[arrow,dask,pandas,polars,progress,testing]")
    session.run("python", "-m", "pytest", "tests/extras", *session.posargs, env=INSTALLED_ONLY)


@nox.session
def bench(session: nox.Session) -> None:
    """Run every benchmark."""
    scripts = sorted((ROOT / "benchmarks").glob("*.py"))
    if not scripts:
        session.skip("there are no benchmarks")
    install_wheel(session)
    for script in scripts:
        session.run("python", str(script.relative_to(ROOT)), *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build the sdist and the wheel into dist/ and look at what is in them."""
    session.install(*group("build"))
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(dist), *session.posargs)
    session.run("twine", "check", "--strict", *map(str, sorted(dist.iterdir())))
    for wheel in dist.glob("*.whl"):
        names = zipfile.ZipFile(wheel).namelist()
        tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
        if tops != {"cnnbudget"} or "cnnbudget/py.typed" not in names:
            session.error(f"{wheel.name} should hold cnnbudget, with py.typed, and nothing else: {sorted(tops)}")


@nox.session
def nightly(session: nox.Session) -> None:
    """Run the tests with many more examples, and mutate model files for ten minutes."""
    run_tests(session, "nightly")
    session.run("python", "fuzz/readers.py", "600", str(int(time.time())), env=INSTALLED_ONLY)
