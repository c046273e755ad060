"""How the commands of pages are executed that are no sessions from beginning to end, or why they are not.

A block is named by its page and the beginning of its first line.
"""

from typing import Final, NamedTuple

TESTED: Final = {
    "clients/": "tests/integration/test_clients.py",
    "docs/components.md": "tests/integration/test_component_languages.py",
    "docs/flow-language.md": "tests/integration/test_flow_language.py",
    "docs/migrate.md": "tests/integration/test_migrate.py",
    "docs/proxies.md": "tests/support/proxies.py",
    "docs/testing.md": "tests/integration/test_testing_guide.py",
}
"""Pages, or the beginnings of their names, whose blocks a test of their own reads, or whose calls it makes."""

TESTED_BLOCKS: Final = {
    ("README.md", "make serve"): "tests/integration/test_readme.py",
    ("README.md", "export PATH"): "tests/integration/test_readme.py",
    ("README.md", "runs-gateway list"): "tests/integration/test_readme.py",
    ("README.md", "from gateway.client"): "tests/integration/test_readme.py",
    ("README.md", "curl "): "tests/integration/test_readme.py",
    ("README.md", "# settings.toml"): "tests/integration/test_readme.py",
    ("README.md", "make demo"): "tests/release/check.py",
    ("docs/conformance.md", "runs-gateway conformance"): "tests/integration/test_conformance_kit.py",
    ("docs/deployment.md", "docker build"): "tests/integration/test_deployment_image.py",
    ("docs/deployment.md", "helm install"): "tests/integration/test_deployment_kubernetes.py",
    ("docs/deployment.md", "docker compose"): "tests/integration/test_deployment_compose.py",
    ("docs/security.md", "umask 077"): "tests/integration/test_security_recipes.py",
    ("docs/security.md", "runs-gateway serve --state"): "tests/integration/test_security_recipes.py",
    ("docs/security.md", "runs-gateway serve --config mesh"): "tests/integration/test_security_recipes.py",
    ("docs/security.md", "export RUNS"): "tests/integration/test_security_recipes.py",
    ("docs/security.md", "cat > mesh.toml"): "tests/integration/test_security_recipes.py",
    ("docs/web.md", "buf curl"): "tests/integration/test_buf_curl.py",
    ("docs/web.md", "const client"): "tests/integration/node/web_client.mjs",
}
"""Blocks that another test executes, or does without the program that is not to be had: docker, kubectl."""

NOT_EXECUTED: Final = {
    ("CONTRIBUTING.md", "make quick"): "CI executes the commands",
    ("CONTRIBUTING.md", "def cancel"): "shows a docstring",
    ("README.md", "gRPC clients"): "a picture",
    ("README.md", "grpcurl"): "grpcurl is not in Debian; clients of other languages make the call",
    ("docs/conformance.md", "broken"): "what the kit prints",
    ("docs/conformance.md", '{"status"'): "a form of JSON",
    ("docs/deployment.md", "python3 -m venv /opt"): "installs into a system with systemd; its unit is tested by itself",
    ("docs/engines.md", "runs-gateway bridge"): "needs an engine elsewhere; tests/integration/test_bridge.py has one",
    ("docs/engines.md", "storageConfig"): "settings of an engine; tests/integration/test_orchestrators.py has them",
    ("docs/operations.md", "/var/log"): "settings of logrotate",
    ("docs/scale.md", "pip install"): "needs a Temporal server; tests/integration/test_temporal_gateways.py has one",
    (
        "docs/operations.md",
        "runs-gateway temporal",
    ): "needs a Temporal server; tests/integration/test_temporal_setup.py",
    ("docs/operations.md", "eval"): "needs three shells; tests/integration/test_terminals.py has bash",
    ("docs/tracing.md", "pip install"): "needs a collector; tests/integration/test_traces.py has one",
    ("docs/tracing.md", "with tracer"): "a part of a program; tests/integration/test_one_trace.py has one",
}
"""Blocks that no test executes as they are printed, and why."""


class Example(NamedTuple):
    """How a block is executed: commands before it, and what stands for its placeholders."""

    before: str = ""
    replaced: tuple[tuple[str, str], ...] = ()
    serve: str = "runs-gateway serve"
    """The gateway that runs meanwhile, if the block starts none."""


_FLOW: Final = """\
echo '{"name": "echo", "steps": [], "output": {"$input": "$"}}' > flow.json
FLOW=$(runs-gateway put flow.json)
"""
_RUN: Final = f"{_FLOW}RUN=$(runs-gateway submit $FLOW --input 1 --label team=search --label batch=7)\n"
_ENDLESS: Final = " --max-time 1 || [ $? = 28 ]"

EXAMPLES: Final = {
    ("README.md", "runs-gateway serve --component"): Example(before='ln -s "$PROJECT/examples" examples\n'),
    ("docs/engines.md", "runs-gateway serve --component"): Example(
        replaced=(("runs-gateway serve --runtime stepflow", "# needs an engine: --runtime stepflow"),)
    ),
    ("docs/live-page.md", "runs-gateway serve --ui"): Example(),
    ("docs/live-page.md", "curl -N"): Example(
        before="TOKEN=none\n", replaced=(("/ui/overview", f"/ui/overview{_ENDLESS}"),), serve="runs-gateway serve --ui"
    ),
    ("docs/operations.md", "runs-gateway list --state"): Example(
        before=_RUN,
        replaced=(
            ("RUN ", "$RUN "),
            ("--roots --follow", "--roots"),
            ("runs-gateway top --sort oldest", "runs-gateway top --sort oldest --json"),
        ),
    ),
    ("docs/security.md", "$ runs-gateway token create"): Example(),
    ("docs/security.md", "$ runs-gateway token grant"): Example(
        before="head -c 48 /dev/urandom | base64 > key\nexport RUNS_GATEWAY_TOKEN_FILE=admin.token\n",
        replaced=(("token grant ", "token grant --signing-key key --identity admin "),),
    ),
    ("docs/tracing.md", "TRACEPARENT="): Example(before=f"{_FLOW}echo 1 > inputs.json\n"),
    ("docs/tracing.md", "runs-gateway serve"): Example(),
    ("docs/web.md", "curl http"): Example(before=_FLOW, replaced=(("sha256:...", "'$FLOW'"),)),
    ("docs/web.md", "runs-gateway serve"): Example(),
}
"""Blocks that are executed by themselves."""
