// The first call. Usage: first ADDRESS
import { credentials, Metadata } from "@grpc/grpc-js";
import { EmbedRequest, OrchestratorServiceClient } from "./generated/sensorium/v1/orchestrator.js";

const client = new OrchestratorServiceClient(process.argv[2] ?? "localhost:8001", credentials.createInsecure());
const request = EmbedRequest.create({ contents: [{ kind: { $case: "text", value: "the digit three" } }] });

client.embed(request, new Metadata(), { deadline: Date.now() + 10_000 }, (error, response) => {
  client.close();
  if (error) {
    console.error(`first: ${error.message}`);
    process.exitCode = 1;
    return;
  }
  const result = response.results[0]?.result; // an item may fail although the call is OK
  if (result?.$case === "embedding") {
    const { space, values } = result.value;
    console.log(`${space}, ${values.length} numbers: ${values.slice(0, 4).map((value) => value.toFixed(3)).join(" ")} …`);
  } else {
    console.error(`first: ${result?.value.message}`);
    process.exitCode = 1;
  }
});
