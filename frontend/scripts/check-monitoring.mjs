// The Prometheus operator's own schemas: resources as a JSON array on stdin; the first that is refused ends it with 1.
import { readFileSync } from "node:fs";
import { PodMonitor, PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";

const schemas = { PodMonitor, PrometheusRule };

for (const resource of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    new schemas[resource.kind](resource).validate();
  } catch (error) {
    console.error(`${resource.kind} ${resource.metadata?.name}: ${error.message}`);
    process.exit(1);
  }
}
