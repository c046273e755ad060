// A Node client that knows nothing but the contract: stores a flow, submits a run of it, follows the run, and prints what
// came as one JSON object.
//
//     node client.js ADDRESS PROTOS FLOW INPUT...

const grpc = require('@grpc/grpc-js');
const { loadSync } = require('@grpc/proto-loader');

const [address, protos, flow, ...inputs] = process.argv.slice(2);
const definition = loadSync(['runs/v1/runs.proto', 'runs/v1/blobs.proto'], {
  includeDirs: [protos],
  longs: Number,
  enums: String,
  oneofs: true,
});
const { RunsService, BlobsService } = grpc.loadPackageDefinition(definition).runs.v1;
const credentials = grpc.credentials.createInsecure();
const runs = new RunsService(address, credentials);
const blobs = new BlobsService(address, credentials);

const call = (client, method, request) =>
  new Promise((resolve, reject) => {
    client[method](request, (error, response) => (error ? reject(error) : resolve(response)));
  });

async function main() {
  const { blobId } = await call(blobs, 'PutBlob', { json: flow, type: 'BLOB_TYPE_FLOW' });
  const submit = { flowId: blobId, inputs: inputs.map((json) => ({ json })), flowLabel: 'from Node' };
  const { run } = await call(runs, 'SubmitRun', submit);
  const updates = [];
  for await (const update of runs.GetRun({ runId: run.runId, wait: true, includeResults: true })) {
    updates.push(update.run);
  }
  const missing = await call(runs, 'SubmitRun', { flowId: 'nonsense' }).catch((error) => error);
  console.log(JSON.stringify({ submitted: run, updates, refused: { code: missing.code, details: missing.details } }));
  runs.close();
  blobs.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
