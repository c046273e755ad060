"""The search attributes by which runs are found. Their names and types are a promise between releases."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from temporalio.common import SearchAttributeKey

RUNS_NAMESPACE: Final[SearchAttributeKey[str]] = SearchAttributeKey.for_keyword("RunsNamespace")
"""The namespace of this gateway: one of the engine may hold many."""
FLOW_ID: Final[SearchAttributeKey[str]] = SearchAttributeKey.for_keyword("RunsFlowId")
FLOW_NAME: Final[SearchAttributeKey[str]] = SearchAttributeKey.for_keyword("RunsFlowName")
FLOW_LABEL: Final[SearchAttributeKey[str]] = SearchAttributeKey.for_keyword("RunsFlowLabel")
PARENT: Final[SearchAttributeKey[str]] = SearchAttributeKey.for_keyword("RunsParent")
"""The id of the run that has submitted this one."""
ROOT: Final[SearchAttributeKey[str]] = SearchAttributeKey.for_keyword("RunsRoot")
"""The id of the run that all of its family are inside of."""
STATE: Final[SearchAttributeKey[str]] = SearchAttributeKey.for_keyword("RunsState")
LABELS: Final[SearchAttributeKey[Sequence[str]]] = SearchAttributeKey.for_keyword_list("RunsLabels")
"""The labels, each as `name=value`, but for long ones (`search_texts.py`)."""
CREATED: Final[SearchAttributeKey[datetime]] = SearchAttributeKey.for_datetime("RunsCreated")

SEARCH_ATTRIBUTES: Final[tuple[SearchAttributeKey[Any], ...]] = (
    RUNS_NAMESPACE,
    FLOW_ID,
    FLOW_NAME,
    FLOW_LABEL,
    PARENT,
    ROOT,
    STATE,
    LABELS,
    CREATED,
)
"""All of them: what a namespace has to have. A development server takes 10 keywords, 3 lists of them, and 3 times."""
