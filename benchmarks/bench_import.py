"""What `import fgrad` adds to `import numpy`, in milliseconds, in fresh interpreters that take turns.

PyTorch and HIPS autograd are measured beside it where they can be imported; ``--peers-python PATH`` measures with an
interpreter that has them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
TARGET = 60.0
PROGRAMS = {
    "numpy": "import numpy",
    "fgrad": "import numpy, fgrad",
    "PyTorch": "import numpy, torch",
    "HIPS autograd": "import numpy, autograd, autograd.numpy",
}


def seconds(python: str, program: str) -> float:
    """The time of one fresh interpreter that runs the program, its start and end included."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    subprocess.run([python, "-c", program], env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def can_run(python: str, program: str) -> bool:
    """Whether the program runs; it also fills the caches of disk and bytecode."""
    try:
        seconds(python, program)
    except subprocess.CalledProcessError:
        return False
    return True


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--peers-python", metavar="PATH", default=sys.executable, help="the interpreter to measure")
    options = parser.parse_args()
    python = options.peers_python
    programs = {name: program for name, program in PROGRAMS.items() if can_run(python, program)}
    if not {"numpy", "fgrad"} <= set(programs):
        sys.exit(f"{python} cannot import numpy and fgrad; fgrad needs attrs")
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(options.rounds):
        for name, program in programs.items():
            times[name].append(seconds(python, program) * 1e3)
    print(f"Fresh interpreters, {options.rounds} rounds in turn: median ms [quartiles]\n")
    for name, found in times.items():
        low, median, high = statistics.quantiles(found, n=4)
        print(f"{PROGRAMS[name]:42} {median:8.1f} [{low:.1f} {high:.1f}]")
    print()
    for name in [name for name in programs if name != "numpy"]:
        added = [own - base for own, base in zip(times[name], times["numpy"], strict=True)]
        low, median, high = statistics.quantiles(added, n=4)
        verdict = "" if name != "fgrad" else f"  at most {TARGET:g}: {'yes' if median <= TARGET else 'NO'}"
        print(f"{name + ' adds to numpy':42} {median:8.1f} [{low:.1f} {high:.1f}]{verdict}")
    missing = [name for name in PROGRAMS if name not in programs]
    if missing:
        print(f"\nnot measured: {', '.join(missing)}; --peers-python names an interpreter that has torch and autograd")


if __name__ == "__main__":
    main()
