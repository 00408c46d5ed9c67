"""AutoGAN: a controller adds cells level by level, in a shared GAN.

search.py needs these four functions of a search.
"""

from models_search.autogan.plan import make_plan
from models_search.autogan.search import load_materials, new_state, run_search

__all__ = ["load_materials", "make_plan", "new_state", "run_search"]
