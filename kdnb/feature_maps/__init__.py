"""What each layer shows and how it decides: captured taps, average maps, the decision ledger (notebook 04)."""

from kdnb.feature_maps.ledger import Account, Ledger, decision_ledger, ledgers
from kdnb.feature_maps.maps import average_maps, capture, check_images, check_targets, gradients_at_taps
from kdnb.feature_maps.maps import logits_and_taps as logits_and_taps
from kdnb.feature_maps.maps import to_size as to_size

__all__ = ["Account", "Ledger", "average_maps", "capture", "check_images", "check_targets", "decision_ledger",
           "gradients_at_taps", "ledgers", "logits_and_taps", "to_size"]  # fmt: skip
