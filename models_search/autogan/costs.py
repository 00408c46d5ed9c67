"""What an AutoGAN search will take (--estimate)."""

import torch

from models_search.autogan.controller import first_beam, reinforce, sample_architectures
from models_search.autogan.state import new_policy
from models_search.estimate import Work, seconds_of
from models_search.shared_gan.costs import level_works, shared_estimate
from models_search.shared_gan.progress import is_scored_after
from utils.randomness import random_generator


def estimate(plan, materials):
    """The Estimate of a search from its first iteration. With --reuse_rewards it takes less than that."""
    update = seconds_per_update(plan) if plan.controller_steps else 0.0

    def works_of_level(cost, level, num_images):
        iterations = [each for each in range(plan.iterations) if plan.level_at(each) == level]
        periodic = sum(is_scored_after(plan, each) for each in iterations)
        updates, search = len(iterations) * plan.controller_steps, plan.search
        rewards = updates * plan.controller.ctrl_sample_batch
        protocol = search.rl_num_eval_img, (search.reward,)
        return [
            *level_works(plan, cost, num_images, len(iterations), periodic),
            Work("controller", cost.resolution, updates, update),
            cost.scored("rewards", rewards, *protocol),
            cost.scored("candidates", plan.shared_gan.num_candidate, *protocol),
        ]

    return shared_estimate(plan, materials, works_of_level)


def seconds_per_update(plan):
    """Seconds of an update of the controller, without the scoring of its architectures."""
    policy, random = new_policy(plan, plan.first_level), random_generator(0, "estimate")
    beam, rewards = first_beam(plan.controller.hid_size), torch.ones(plan.controller.ctrl_sample_batch)

    def update():
        _, rollout = sample_architectures(policy.controller, beam, len(rewards), random)
        reinforce(policy.optimizer, rollout, rewards, 0.0)

    return seconds_of(update)
