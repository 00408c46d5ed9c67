"""--compile reaches every feature network that a script loads."""

import pytest
from running import TinyNet, short_run, write_pictures

import cfg
import models_search.autogan
import models_search.dggan.pair
import models_search.random_sharing
import models_search.shared_gan.materials
import utils.metrics.generator
from models_search.retraining.materials import find_materials, materials_of_process
from models_search.retraining.plan import training_plan
from utils.run.machine import pick_device


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("name", ["search", "slas", "random_sharing", "train_derived", "dggan"])
def test_the_feature_network_is_compiled_if_asked_for(tmp_path, monkeypatch, name, compiled):
    asked = []

    def load(name, **options):
        asked.append((name, options["compiled"], options["device"].type))
        return TinyNet()

    for module in (models_search.shared_gan.materials, models_search.dggan.pair, utils.metrics.generator):
        monkeypatch.setattr(module, "load_feature_net", load)
    script, *words = f"{short_run(name, write_pictures(tmp_path))}{' --compile' * compiled}".split()
    options, device = cfg.parse(script, words), pick_device("cpu")
    if name == "train_derived":
        find_materials(training_plan(options, cfg.generator_architecture(options)), device)
        materials_of_process.cache_clear()
    elif name == "dggan":
        models_search.dggan.pair.load_net.cache_clear()
        models_search.dggan.pair.load_net(options.scoring, options.run.compile, device)
        models_search.dggan.pair.load_net.cache_clear()
    else:
        method = models_search.random_sharing if name == "random_sharing" else models_search.autogan
        method.load_materials(method.make_plan(options))
    assert asked and set(asked) == {("efficientnet-lite0", compiled, "cpu")}
