"""What a search by growth will take (--estimate): its tree is drawn with made-up scores."""

import math
from dataclasses import dataclass

from models.growing.networks import growing_networks
from models_search.dggan.pair import load_net
from models_search.dggan.search import search
from models_search.dggan.tree import planted, with_score
from models_search.estimate import (
    BYTES_OF_A_LOOK, BYTES_OF_A_SCORE, GRID_BYTES, Estimate, Work, gan_bytes, measured_memory, scoring_cost,
    seconds_per_step, some_images,
)  # fmt: skip
from utils.data.load import load_images
from utils.randomness import derived_seed, global_seed
from utils.training.adversarial import StepFunctions
from utils.training.gan import new_gan


@dataclass
class _RandomScores:
    """Stands in for the NodeTrainer of a search: it scores nodes at random."""

    seed: int

    def train(self, tree, step):
        for index, node in enumerate(tree):
            if node.step == step:
                tree = with_score(tree, index, float(derived_seed(self.seed, "made-up score", index)))
        return tree

    def save(self, tree):
        pass

    def is_out_of_time(self):
        return False


def estimate(plan, materials):
    """The Estimate of a search. Of the nodes at each resolution one in the middle by size is measured."""
    device, data = materials.device, plan.data
    image_set = load_images(data.dataset, data.data_path, image_size=data.img_size, fewest=2)
    net = load_net(plan.scoring, plan.run.compile, device)
    nodes, works = {}, []
    for node in search(planted(plan.root), plan, _RandomScores(plan.run.random_seed)):
        nodes.setdefault(node.resolution, []).append(node.architecture)
    for resolution, texts in sorted(nodes.items()):
        text = sorted(texts, key=lambda text: (len(text), text))[len(texts) // 2]
        gan, cost = _measure(plan, text, image_set, net, resolution, device)
        works += [
            Work("reading images", resolution, image_set.num_images, cost["read"]),
            Work("statistics", resolution, image_set.num_images, cost["scoring"].real_image),
            Work("training", resolution, len(texts) * plan.growth.growth_iterations, cost["step"]),
            Work("scores", resolution, len(texts), cost["scoring"].of(1, plan.search.rl_num_eval_img, "fid")),
        ]
    count, looks = sum(map(len, nodes.values())), plan.growth.growth_iterations / plan.training.print_freq
    memory = measured_memory(device) + 3 * image_set.num_images * data.img_size**2
    return Estimate(
        works,
        memory_bytes=plan.independent.workers * memory,
        # The networks kept after each growing step, and those in training with the ones before them.
        checkpoint_bytes=gan_bytes(gan) * (min(count, plan.kept * (plan.growing_steps + 1)) + 2),
        log_bytes=math.ceil(count * (looks * BYTES_OF_A_LOOK + BYTES_OF_A_SCORE + GRID_BYTES)),
        workers=plan.independent.workers,
        most_seconds=plan.search.budget_seconds,
    )


def _measure(plan, text, image_set, net, resolution, device):
    """(Gan, {"read", "step": seconds, "scoring": ScoringCost}) of the networks of an architecture."""
    with global_seed(plan.run.random_seed, "estimate"):
        latent_dim = plan.network.latent_dim
        networks = growing_networks(text, latent_dim=latent_dim, merged=plan.run.is_fast)
    gan = new_gan(*networks, device, plan.training, with_average=True, fast=plan.run.is_fast)
    images, read = some_images(image_set, 2 * plan.training.dis_batch_size, resolution, device)

    def functions_at(step, loss):
        return StepFunctions(gan.generator, gan.discriminator, loss, key=text)

    step = seconds_per_step(gan, plan, images, functions_at, ema_decay=plan.independent.ema_decay)
    average = gan.average.eval()
    scoring = scoring_cost(average, latent_dim, net, resolution, plan.scoring, device)
    return gan, {"read": read, "step": step, "scoring": scoring}
