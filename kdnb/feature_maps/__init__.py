"""What each layer shows and how it decides: captured taps, average maps, the decision ledger (notebook 04)."""

from kdnb.feature_maps.maps import average_maps, capture, check_targets, gradients_at_taps, logits_and_taps, to_size

__all__ = ["average_maps", "capture", "check_targets", "gradients_at_taps", "logits_and_taps", "to_size"]
