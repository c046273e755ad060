"""Hypothesis strategies of the messages that make tokens."""

from hypothesis import strategies as st

from gateway.core.owner import Permission
from gateway.core.tokens import MAX_LIFETIME, CreatedToken, TokenParams
from tests.support.messages import labels, times

_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)

token_params = st.builds(
    TokenParams,
    permissions=st.sets(st.sampled_from(Permission), min_size=1).map(tuple),
    namespace=st.none() | _texts,
    run_id=st.none() | _texts,
    labels=labels,
    lifetime=st.none() | st.integers(1, int(MAX_LIFETIME) * 10**9).map(lambda nanos: nanos / 10**9),
)
created_tokens = st.builds(CreatedToken, token=_texts, expires_at=times)
