// A component server that counts words. The gateway starts it:
//
//     runs-gateway serve --component /words="node examples/components/node/main.js"
//
// or it listens at a port of its own, `node main.js 8081`, and the gateway is told `--component /words=http://127.0.0.1:8081`.

import { components } from "./components.js";
import { serve } from "./server.js";

serve(components, Number(process.argv[2] ?? 0));
