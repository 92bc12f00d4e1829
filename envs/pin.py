"""Write the versions of envs/lock.txt into the conda files, so that `--software-deployment-method conda` runs the same packages.

python envs/pin.py          rewrite the files
python envs/pin.py --check  exit 1 when one differs from the lock
"""

import re
import sys
from pathlib import Path

ENVIRONMENTS = Path(__file__).parent


def locked_versions(lock: str) -> dict[str, str]:
    """Versions by package name; of several (for different Pythons) the one that Python 3.11 gets."""
    versions: dict[str, str] = {}
    for name, version, marker in re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(?: ; ([^\\\n]*))?", lock, flags=re.MULTILINE):
        if not re.search(r"python_full_version >= '3\.1[2-9]'", marker):
            versions[name.lower()] = version
    return versions


def pinned(text: str, versions: dict[str, str]) -> str:
    """The conda file with every pip requirement at its locked version."""

    def pin(match: re.Match[str]) -> str:
        return f"{match[1]}{match[2]}=={versions[match[2].lower()]}"

    return re.sub(r"^(      - )([A-Za-z0-9._-]+)==\S+", pin, text, flags=re.MULTILINE)


def main() -> int:
    """Pin, or check, every conda file beside this script."""
    versions = locked_versions((ENVIRONMENTS / "lock.txt").read_text())
    differing = []
    for path in sorted(ENVIRONMENTS.glob("*.yaml")):
        text = path.read_text()
        if pinned(text, versions) != text:
            differing.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(pinned(text, versions))
    print(f"differing from the lock: {', '.join(differing) or 'none'}")
    return 1 if differing and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
