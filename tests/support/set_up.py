"""Sets up released software that tests run, before they start: `python -m tests.support.set_up`.

With the argument `quick`, only what the tests without engines need.
"""

import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tests.support import deployment_tools, engine, proxies, sdk
from tests.support.client_languages import LANGUAGES


def main() -> None:
    with ThreadPoolExecutor(2) as pool:
        made: list[Future[Any]] = [pool.submit(sdk.interpreter, version) for version in sdk.VERSIONS]
        made.append(pool.submit(proxies.envoy))
        made.append(pool.submit(deployment_tools.folder))
        if "quick" not in sys.argv[1:]:
            made += [pool.submit(engine.binary, release) for release in engine.RELEASES]
            # Some take minutes, which no test has.
            made += [pool.submit(language.build) for language in LANGUAGES.values() if not language.missing()]
    for future in made:
        future.result()


if __name__ == "__main__":
    main()
