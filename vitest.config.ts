import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Many tests wait for processes and sockets. By default Vitest leaves a core to itself, which on two cores is half of them.
    maxWorkers: '100%',
    // The last lines say which tests this machine cannot run.
    reporters: ['default', './test/kit/missing.ts'],
    // Real processes, real sockets: what hangs is told after a minute, and what is slow on a shared machine is not.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // A tester's own cloud settings must not reach the tests: what needs some sets its own.
    env: {
      AWS_CA_BUNDLE: '',
      AWS_PROFILE: '',
      AWS_REGION: '',
      AWS_ENDPOINT_URL: '',
      AWS_EC2_METADATA_DISABLED: 'true',
    },
  },
});
