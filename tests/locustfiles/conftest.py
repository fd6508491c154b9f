import sys
from pathlib import Path

# Canned server and run directories are shared with the benchmarks, which are scripts.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
