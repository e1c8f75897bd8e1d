"""What older scripts import from `ray.tune.util`, as the module was called in 0.5."""

from tuner.legacy.utils import get_pinned_object, pin_in_object_store

__all__ = ["get_pinned_object", "pin_in_object_store"]
