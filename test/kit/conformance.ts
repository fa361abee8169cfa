import { run } from './real.ts';
import { INDEX, LAYERS } from './serving.ts';

export interface ConformanceOptions {
  readonly host: string;
  /** A repository that has `INDEX` as the tag `index`. */
  readonly name: string;
  /** A folder for its reports. */
  readonly results: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs the read-only tests of the conformance program. It ends with 0 also where it has tested nothing, so its counts decide. */
export async function conformance(
  options: ConformanceOptions,
): Promise<{ readonly failed: number; readonly passed: number }> {
  const { host, name, results, env = {} } = options;
  const [image] = INDEX.children;
  const output = await run('conformance', [], {
    OCI_REGISTRY: host,
    OCI_TLS: 'disabled',
    OCI_REPO1: name,
    OCI_API_PUSH: 'false',
    OCI_RO_DATA_TAGS: 'index',
    OCI_RO_DATA_MANIFESTS: `${INDEX.digest} ${image!.digest}`,
    OCI_RO_DATA_BLOBS: LAYERS[0]!.digest,
    OCI_RO_DATA_REFERRERS: INDEX.digest,
    OCI_FILTER_TEST: 'OCI Conformance Test/read-only',
    OCI_RESULTS_DIR: results,
    ...env,
  });
  const count = (what: string): number => Number(new RegExp(`^ *${what}\\.+: +(\\d+)$`, 'm').exec(output)?.[1] ?? NaN);
  return { failed: count('FAIL') + count('Error'), passed: count('Pass') };
}
