"""The rows of Howard & Ruder (2018), tables 4 to 7, as changes of a recipe."""

import dataclasses

# Section 5, "Impact of classifier fine-tuning": the rate where it is not
# discriminative, and that of the layers below the last with chain-thaw.
_PLAIN_RATE = 0.001
_CHAIN_THAW_LOWER_RATE = 0.0001
# Section 5, "Impact of LM quality": the vanilla model's classifier is trained
# for no more epochs, and keeps the head's dropout.
_VANILLA_EPOCHS = 5
# Columns of the tables.
_DATASETS = ("imdb", "trec6", "ag_news")


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: What `--rows` calls it.
        table: Where the paper has it.
        title: Str.
        paper: The paper's validation errors in per cent, for IMDb, TREC-6
            and AG's News; empty where it has none.
        changes: Dict of fields of the full method's recipe.
        pretrained: Bool, whether to start from the pretrained model; without
            it the recipe is the one for that case.
        directions: Whose probabilities are averaged.
        most_epochs: Optional int, of stage three.
    """

    name: str
    table: str
    title: str
    paper: tuple[float, ...] = ()
    changes: dict = dataclasses.field(default_factory=dict)
    pretrained: bool = True
    directions: tuple[str, ...] = ("forward",)
    most_epochs: int | None = None

    def paper_error(self, dataset):
        """Returns the paper's figure for a data set, or `None`."""
        return dict(zip(_DATASETS, self.paper, strict=False)).get(dataset)

    def recipe(self, recipe):
        """Returns the row's recipe.

        Args:
            recipe: `Recipe` of the full method, or without a pretrained
                model that for this case.
        """
        changes = dict(self.changes)
        if self.most_epochs:
            changes["epochs"] = min(self.most_epochs, recipe.epochs)
        return dataclasses.replace(recipe, **changes)


# A ratio of 1 makes a slanted triangle a constant rate.
_PLAIN = {"learning_rate": _PLAIN_RATE, "decay_factor": 1.0, "ratio": 1.0}

ROWS = (
    Row(
        "without-pretraining",
        "4",
        "Without pretraining",
        (5.63, 10.67, 5.52),
        pretrained=False,
    ),
    Row(
        "vanilla-lm",
        "5",
        "Vanilla LM (no AWD dropouts)",
        (5.98, 7.41, 5.76),
        {"language_model_dropout": 0.0, "encoder_dropout": 0.0},
        most_epochs=_VANILLA_EPOCHS,
    ),
    Row(
        "no-lm-fine-tuning",
        "6",
        "No LM fine-tuning",
        (6.99, 6.38, 6.09),
        {"language_model_epochs": 0},
    ),
    Row(
        "lm-full",
        "6",
        "LM: full",
        (5.86, 6.54, 5.61),
        {"language_model_decay_factor": 1.0, "language_model_ratio": 1.0},
    ),
    Row(
        "lm-full+discr",
        "6",
        "LM: full + discr",
        (5.55, 6.36, 5.47),
        {"language_model_ratio": 1.0},
    ),
    Row(
        "from-scratch",
        "7",
        "From scratch",
        (9.93, 13.36, 6.81),
        {"language_model_epochs": 0},
        pretrained=False,
    ),
    Row(
        "full",
        "7",
        "Full",
        (6.87, 6.86, 5.81),
        {**_PLAIN, "unfreezing": "full"},
    ),
    Row(
        "full+discr",
        "7",
        "Full + discr",
        (5.57, 6.21, 5.62),
        {"unfreezing": "full", "ratio": 1.0},
    ),
    Row(
        "last",
        "7",
        "Last",
        (6.49, 16.09, 8.38),
        {**_PLAIN, "unfreezing": "last"},
    ),
    Row(
        "chain-thaw",
        "7",
        "Chain-thaw",
        (5.39, 6.71, 5.90),
        {
            **_PLAIN,
            "unfreezing": "chain-thaw",
            "lower_learning_rate": _CHAIN_THAW_LOWER_RATE,
        },
    ),
    Row("freez", "7", "Freez", (6.37, 6.86, 5.81), _PLAIN),
    Row(
        "freez+discr",
        "7",
        "Freez + discr",
        (5.39, 5.86, 6.04),
        {"ratio": 1.0},
    ),
    Row(
        "freez+stlr",
        "7",
        "Freez + stlr",
        (5.04, 6.02, 5.35),
        {"learning_rate": _PLAIN_RATE, "decay_factor": 1.0},
    ),
    Row(
        "freez+cos",
        "7",
        "Freez + cos",
        (5.70, 6.38, 5.29),
        {
            "learning_rate": _PLAIN_RATE,
            "decay_factor": 1.0,
            "schedule": "cosine",
        },
    ),
    Row(
        "freez+discr+stlr",
        "4 to 7",
        "Full method, forward (freez + discr + stlr)",
        (5.00, 5.69, 5.38),
    ),
    Row(
        "backward",
        "section 5",
        "Full method, backward",
        directions=("backward",),
    ),
    Row(
        "both",
        "section 5",
        "Full method, both averaged",
        directions=("forward", "backward"),
    ),
)
