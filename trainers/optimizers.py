"""Optimizers of the fine-tuning stages."""

import keras

from ulmfit_tf import training


def group_optimizers(schedules, weight_decay, beta_1=0.7, beta_2=0.99):
    """Returns one Adam a group of layers.

    Betas of Howard & Ruder (2018), section 4.1; weight decay is decoupled,
    as in the authors' scripts.
    """
    return [
        training.Adam(
            schedule,
            beta_1=beta_1,
            beta_2=beta_2,
            weight_decay=weight_decay or None,
        )
        for schedule in schedules
    ]


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
    stages, steps_per_epoch, rates, cut_frac, ratio, schedule="slanted"
):
    """Returns a schedule for each group: one run of `schedule` a stage.

    A group's schedule counts only the steps in which the group is trained,
    so it holds the runs of just those stages.

    Args:
        stages: List of `training.Stage`s.
        steps_per_epoch: Int.
        rates: List with the highest rate of each group.
        cut_frac: Float, see `training.SlantedTriangular`.
        ratio: Float, see `training.SlantedTriangular`.
        schedule: `"slanted"` for slanted triangles, or `"cosine"` for a fall
            from the highest rate to 0 along half a cosine (Loshchilov &
            Hutter, 2017), which has no use for `cut_frac` and `ratio`.
    """

    def run(rate, count):
        if schedule == "cosine":
            return keras.optimizers.schedules.CosineDecay(rate, count)
        return training.SlantedTriangular(rate, count, cut_frac, ratio)

    schedules = []
    for group, rate in enumerate(rates):
        steps = [
            stage.epochs * steps_per_epoch
            for stage in stages
            if group in stage.groups
        ]
        # A group that is never trained needs an optimizer all the same.
        steps = steps or [1]
        runs = [run(rate, count) for count in steps]
        schedules.append(training.ScheduleSequence(runs, steps))
    return schedules
