import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Some tests wait most of the time, for processes, sockets and timeouts. Another test uses the core meanwhile.
    maxWorkers: availableParallelism() + 1,
    // The last lines say which tests this machine cannot run.
    reporters: ['default', './test/kit/missing.ts'],
    // The tests use real processes and sockets. A minute is enough on a shared machine.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // A tester's own cloud settings must not reach the tests. A test that needs settings sets its own.
    env: {
      // Tests start hundreds of processes from the sources, which are compiled only once.
      NODE_COMPILE_CACHE: join(import.meta.dirname, 'node_modules/.cache/compiled'),
      AWS_CA_BUNDLE: '',
      AWS_PROFILE: '',
      AWS_REGION: '',
      AWS_ENDPOINT_URL: '',
      AWS_EC2_METADATA_DISABLED: 'true',
    },
  },
});
