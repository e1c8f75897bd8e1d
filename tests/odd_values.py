"""Whatever a trial may report and a search may choose, for property tests."""

from hypothesis import strategies as st

_CHARACTERS = st.characters(exclude_categories=[])  # lone surrogates, too
_TEXTS = st.text(_CHARACTERS, max_size=5)
_NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 2**63, 2**64])
_SCALARS = st.none() | st.booleans() | _NUMBERS | _TEXTS | st.binary(max_size=3)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)
_PLACES = st.sampled_from(["training_iteration", "timesteps_total", "timestamp", "time_total_s"])

PARAMS = st.dictionaries(_TEXTS, _VALUES, max_size=4)
RESULTS = st.lists(st.dictionaries(_PLACES | _TEXTS, _VALUES, max_size=6), max_size=4)
