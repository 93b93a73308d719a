"""Learning to outline the nerve: what a step minimises, a fold's score, what it leaves."""

from collections.abc import Callable

import jax
import numpy as np
from ml_collections import ConfigDict

from nerve_jax import metrics
from nerve_jax.decide import Threshold
from nerve_jax.examples import Examples
from nerve_jax.files import write_array
from nerve_jax.fold_training import Fold, Task
from nerve_jax.losses import make_loss
from nerve_jax.mixing import mix_frames
from nerve_jax.models import Params
from nerve_jax.programs import make_augment_from
from nerve_jax.scalars import is_on
from nerve_jax.scores import Predicted, count_frames


def make_objective(config: ConfigDict, apply: Callable, numbers: dict) -> Callable:
    """Return `objective(params, images, masks, keys)`, the loss of each augmented frame.

    Args:
      config: of the run.
      apply: of `create_model`.
      numbers: of `scalars.fill_in`.
    """
    loss = make_loss(
        config.loss,
        presence_weight=numbers["presence_weight"],
        coarse_weight=numbers["coarse_weight"],
    )
    augment = make_augment_from(config, numbers)
    cutmix_prob = numbers["cutmix_prob"]

    def objective(params, images, masks, keys):
        augment_keys, dropout_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
        images, masks = augment(images, masks, augment_keys)
        if is_on(cutmix_prob):
            mix_keys = jax.vmap(jax.random.fold_in, (0, None))(augment_keys, 1)
            images, masks = mix_frames(images, masks, mix_keys, cutmix_prob)
        return loss(apply(params, images, dropout_keys), masks)

    return objective


def make_task(
    config: ConfigDict, examples: Examples, predict: Callable, begin: Callable
) -> Task:
    """Segmentation as `run_folds` trains it.

    Args:
      config: of the run.
      examples: the data set.
      predict: of `Programs`.
      begin: see `Task`.
    """

    def predict_val(fold: Fold, params: Params) -> Predicted:
        probs, presence = predict([params], examples.images[fold.val])
        return Predicted(fold.val, probs.astype(np.float16), presence)

    def score(fold: Fold, step: int, params: Params) -> dict[str, float]:
        del step
        plain = [Threshold(config.threshold)] * len(fold.val)
        return metrics.compute_scores(
            count_frames(examples, predict_val(fold, params), plain)
        )

    def finish(fold: Fold, params: Params) -> Callable[[], None]:
        predicted = predict_val(fold, params)

        def leave() -> None:
            write_array(fold.directory / "val_probs.npy", predicted.probs)
            write_array(fold.directory / "val_presence.npy", predicted.presence_probs)

        return leave

    return Task("dice", begin, score, finish)
