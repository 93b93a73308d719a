"""Learning to outline structures."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import jax

from nerve_jax.data.examples import Examples
from nerve_jax.model.unet import Params
from nerve_jax.runs.folder import Fold, find_subfolder
from nerve_jax.scoring import metrics
from nerve_jax.scoring.decide import Rule
from nerve_jax.scoring.scores import count_structures
from nerve_jax.training.augment import make_augment
from nerve_jax.training.losses import make_loss
from nerve_jax.training.optimizer import TrainState
from nerve_jax.training.scalars import Sections, fill_in
from nerve_jax.training.step import Batch


def make_augmented_loss(apply: Callable, sections: Sections) -> Callable:
    """Return the loss of `make_train_step`: that of augmented frames.

    Args:
      apply: of `create_model`.
      sections: sections of the configuration, of which "loss" and "augment" are read.
    """

    def compute_loss(params: Params, state: TrainState, batch: Batch, keys):
        filled = fill_in(sections, state.scalars)
        augment, loss = make_augment(**filled["augment"]), make_loss(**filled["loss"])
        augment_keys, dropout_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
        batch = augment(batch, augment_keys)
        outputs = apply(params, batch.images, dropout_keys)
        return loss(outputs, batch.masks, batch.labelled)

    return compute_loss


@dataclass(frozen=True)
class Segmentation:
    """Segmentation as a `Task`.

    Attributes:
      apply: of `create_model`.
      examples: the data set.
      sections: sections of the configuration, of which "loss" and "augment" are read.
      threshold: at which validation masks are cut.
      begin: see `Task`.
    """

    apply: Callable
    examples: Examples
    sections: Sections
    threshold: float
    begin: Callable[[Fold, Params], Params]
    measure: ClassVar[str] = "dice"

    def loss(self, params: Params, state: TrainState, batch: Batch, keys):
        """See `Task.loss`: that of augmented frames."""
        return make_augmented_loss(self.apply, self.sections)(
            params, state, batch, keys
        )

    def score(self, predict: Callable, fold: Fold, step: int, params: Params):
        """Mean scores of validation masks, cut at the plain threshold.

        Those of the first structure by their names, of others as "vessel/dice". Frames are counted while the devices predict the next ones; each of several
        processes counts those that it predicts.
        """
        del step
        rule, named = Rule(self.threshold), self.examples.structures

        def count(rows, probs, presence):
            rules = [[rule] * len(rows)] * len(named)
            return count_structures(
                self.examples, fold.val[rows], probs, presence, rules
            )

        counts = predict([params], self.examples.images[fold.val], count)
        known, scores = self.examples.structures_labelled[fold.val], {}
        for place, name in enumerate(named):
            found = metrics.compute_scores(counts[known[:, place], place])
            scores |= {f"{name}/{k}" if place else k: v for k, v in found.items()}
        return scores

    def export(self, predict: Callable, fold: Fold, params: Params):
        """Probabilities of validation frames at training size, float16; of presence."""
        probs, presence = predict([params], self.examples.images[fold.val])
        named, arrays = self.examples.structures, {}
        for place, name in enumerate(named):
            subfolder = find_subfolder(named, name)
            arrays[f"{subfolder}val_probs.npy"] = probs[:, place]
            arrays[f"{subfolder}val_presence.npy"] = presence[:, place]
        return arrays
