"""What a random search with weight sharing will take (--estimate)."""

from models_search.shared_gan.costs import level_works, shared_estimate
from models_search.shared_gan.progress import is_scored_after


def estimate(plan, materials):
    """The Estimate of a search from its first iteration."""

    def works_of_level(cost, level, num_images):
        options, search = plan.random_sharing, plan.search
        periodic = sum(is_scored_after(plan, each) for each in range(plan.iterations))
        metrics, in_full = (search.reward,), plan.shared_gan.num_candidate
        return [
            *level_works(plan, cost, num_images, plan.iterations, periodic),
            cost.scored("candidates", options.random_candidates, options.cheap_eval_imgs, metrics),
            cost.scored("candidates", in_full, search.rl_num_eval_img, metrics),
        ]

    return shared_estimate(plan, materials, works_of_level)
