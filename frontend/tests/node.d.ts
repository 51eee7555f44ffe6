// As much of Node as tests use; the page itself knows nothing of it.
declare module "node:v8" {
  export function setFlagsFromString(flags: string): void;
}
declare module "node:vm" {
  export function runInNewContext(code: string): () => void;
}
declare const process: {
  env: Record<string, string | undefined>;
  memoryUsage(): { heapUsed: number; arrayBuffers: number };
};
