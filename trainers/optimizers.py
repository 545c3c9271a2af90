"""Optimizers of the fine-tuning stages."""

from ulmfit_tf import training

# Howard & Ruder (2018), section 4.1.
_BETA_1, _BETA_2 = 0.7, 0.99


def group_optimizers(schedules, weight_decay):
    """Returns one Adam a group of layers.

    Args:
        schedules: List of learning rates or schedules, one a group.
        weight_decay: Float, decoupled, as in the authors' scripts; 0 for
            none.
    """
    return [
        training.Adam(
            schedule,
            beta_1=_BETA_1,
            beta_2=_BETA_2,
            weight_decay=weight_decay or None,
        )
        for schedule in schedules
    ]


def schedule(
    name, max_learning_rate, total_steps, cut_frac, ratio, stable_warm_up=None
):
    """Returns a learning-rate schedule by its name in a recipe.

    Args:
        name: `"slanted"`, the triangle of Howard & Ruder (2018);
            `"stable"`, which rises, stays and falls over the last fifth;
            `"cosine"`, which rises along a line and falls along a cosine; or
            `"one-cycle"`, with fastai's figures.
        max_learning_rate: Float, the highest rate.
        total_steps: Int.
        cut_frac: Float, not of `"one-cycle"`.
        ratio: Float, of all but `"one-cycle"`.
        stable_warm_up: Optional int, steps in which `"stable"` rises, in
            place of `cut_frac`: a warm-up that does not depend on
            `total_steps` lets a run be given other ones.
    """
    make = {
        "slanted": lambda: training.SlantedTriangular(
            max_learning_rate, total_steps, cut_frac, ratio
        ),
        "stable": lambda: training.WarmUpStableDecay(
            max_learning_rate,
            total_steps,
            warm_up_steps=stable_warm_up or max(1, int(total_steps * cut_frac)),
            ratio=ratio,
        ),
        "cosine": lambda: training.warm_up_cosine(
            max_learning_rate, total_steps, cut_frac, ratio
        ),
        "one-cycle": lambda: training.one_cycle(max_learning_rate, total_steps),
    }
    return make[name]()


def classifier_schedules(recipe, num_groups, steps_per_epoch):
    """Returns which groups stage three trains when, and at which rates.

    Args:
        recipe: `trainers.recipes.Recipe`.
        num_groups: Int, layer groups of the classifier.
        steps_per_epoch: Int.

    Returns:
        `(stages, schedules)`: list of `training.Stage`s, and a schedule for
        each group, see `staged_schedules`.
    """
    stages = training.unfreezing_stages(
        recipe.unfreezing, num_groups, recipe.epochs
    )
    rates = training.discriminative_rates(
        recipe.learning_rate, num_groups, recipe.decay_factor
    )
    if recipe.lower_learning_rate:
        rates[:-1] = [recipe.lower_learning_rate] * (num_groups - 1)
    schedules = staged_schedules(
        stages,
        steps_per_epoch,
        rates,
        recipe.cut_frac,
        recipe.ratio,
        recipe.schedule,
    )
    return stages, schedules


def staged_schedules(
    stages, steps_per_epoch, rates, cut_frac, ratio, name="slanted"
):
    """Returns a schedule for each group: one run of it a stage.

    A group's schedule counts only the steps in which the group is trained,
    so it holds the runs of just those stages.

    Args:
        stages: List of `training.Stage`s.
        steps_per_epoch: Int.
        rates: List with the highest rate of each group.
        cut_frac: Float, see `training.SlantedTriangular`.
        ratio: Float, see `training.SlantedTriangular`.
        name: Str, see `schedule`.
    """
    schedules = []
    for group, rate in enumerate(rates):
        steps = [
            stage.epochs * steps_per_epoch
            for stage in stages
            if group in stage.groups
        ]
        # A group that is never trained needs an optimizer all the same.
        steps = steps or [1]
        runs = [schedule(name, rate, count, cut_frac, ratio) for count in steps]
        schedules.append(training.ScheduleSequence(runs, steps))
    return schedules
