"""AutoGAN: a controller adds cells level by level, in a shared GAN.

search.py needs these five functions of a search.
"""

from models_search.autogan.plan import make_plan
from models_search.autogan.search import load_materials, new_state, read_images, run_search

__all__ = ["load_materials", "make_plan", "new_state", "read_images", "run_search"]
