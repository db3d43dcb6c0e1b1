"""Build the source archive and the wheel, and check what they hold.

Usage: `python .ci/archives.py FILES DIRECTORY`

FILES lists the repository's files, one a line. The archives are left in DIRECTORY. The source
archive must hold exactly those files, and the wheel exactly those of the package.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path


def main(listing: str, directory: str) -> None:
    """Build, check the metadata, and compare the archives with the repository."""
    expected = set(Path(listing).read_text("utf-8").splitlines())
    built = Path(directory)
    build = [sys.executable, "-m", "build", "--outdir", directory]
    # A build prints a line for each file; they are of interest only when it fails.
    ended = subprocess.run(build, check=False, capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"{ended.stdout}{ended.stderr}")
    [source] = built.glob("*.tar.gz")
    [wheel] = built.glob("*.whl")
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", source, wheel], check=True)
    packaged = {name for name in expected if name.startswith("actorflow/")}
    complaints = [
        *differences(source, within_source(source), expected),
        *differences(wheel, within_wheel(wheel), packaged),
    ]
    if complaints:
        sys.exit("\n".join(complaints))
    print(f"{source.name} holds {len(expected)} files, {wheel.name} {len(packaged)}")


def within_source(path: Path) -> set[str]:
    """Return the files of a source archive that the build has not made itself."""
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    names.remove("PKG-INFO")
    return {name for name in names if not name.startswith("actorflow.egg-info/")}


def within_wheel(path: Path) -> set[str]:
    """Return the files of a wheel without its metadata."""
    with zipfile.ZipFile(path) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def differences(path: Path, held: set[str], expected: set[str]) -> list[str]:
    """Return a line for each file that an archive lacks or should not hold."""
    lacks = [f"{path.name} lacks {name}" for name in sorted(expected - held)]
    return lacks + [f"{path.name} must not hold {name}" for name in sorted(held - expected)]


if __name__ == "__main__":
    main(*sys.argv[1:])
