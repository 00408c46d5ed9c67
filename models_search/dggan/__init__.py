"""DGGAN grows both networks while they train; ProgGAN does so by a fixed list of actions.

search.py needs these six functions of a search.
"""

from models_search.dggan.costs import estimate
from models_search.dggan.plan import make_plan
from models_search.dggan.search import load_materials, new_state, read_images, run_search

__all__ = ["estimate", "load_materials", "make_plan", "new_state", "read_images", "run_search"]
