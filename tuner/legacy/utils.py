"""What older scripts import from `ray.tune.utils`."""

from tuner.legacy.pinning import get_pinned_object, pin_in_object_store

__all__ = ["get_pinned_object", "pin_in_object_store"]
