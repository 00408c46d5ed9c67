"""ASHA: random architectures, each trained alone; the better ones train longer.

search.py needs these six functions of a search.
"""

from models_search.asha.costs import estimate
from models_search.asha.plan import make_plan
from models_search.asha.search import load_materials, new_state, read_images, run_search

__all__ = ["estimate", "load_materials", "make_plan", "new_state", "read_images", "run_search"]
