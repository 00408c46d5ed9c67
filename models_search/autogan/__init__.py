"""AutoGAN: a controller adds cells, level by level or (slas) all at once, in a shared GAN.

search.py needs these six functions of a search.
"""

from models_search.autogan.costs import estimate
from models_search.autogan.plan import make_plan
from models_search.autogan.search import new_state, read_images, run_search
from models_search.shared_gan.materials import load_materials

__all__ = ["estimate", "load_materials", "make_plan", "new_state", "read_images", "run_search"]
