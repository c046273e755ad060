"""How long the embedded runtime keeps runs and blobs, as the settings say."""

from gateway.core.model import RunState
from gateway.core.run_filter import RunFilter
from gateway.runtimes.embedded.retention import KeepRule, Retention
from gateway.server.settings import ServeSettings


def retention_of(settings: ServeSettings) -> Retention:
    """What is kept, and for how long."""
    rules = (
        KeepRule(
            RunFilter(
                states=tuple(map(RunState, rule.states)),
                flow_label=rule.flow_label,
                labels=rule.labels,
                namespace=rule.namespace,
            ),
            rule.keep,
        )
        for rule in settings.retention
    )
    return Retention(tuple(rules), settings.keep, settings.keep_runs, settings.keep_blobs)
