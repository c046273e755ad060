// Follows a run, and leaves it when the first update has come. It then stays until its input ends, so that the stream has
// ended by what the library did.
// usage: node web_leaver.mjs PROTOCOL URL IMAGE RUN, where IMAGE is the contract as `buf build` writes it.
import { first } from "./web_leaving.mjs";
import { nodeClients } from "./web_node.mjs";

const [protocol, url, image, runId] = process.argv.slice(2);
const [runs] = nodeClients(protocol, url, image);
process.stdout.write(`${await first(runs, runId)}\n`);
process.stdin.resume();
