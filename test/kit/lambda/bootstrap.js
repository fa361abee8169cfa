/**
 * Starts the real Lambda runtime for Node.js, aws-lambda-ric, with rapid-client.js in place of its native module. It is
 * plain JavaScript, so that the measured cold start does not include the stripping of types.
 */
import { registerHooks } from 'node:module';

registerHooks({
  resolve: (specifier, context, nextResolve) =>
    specifier === './rapid-client.node'
      ? { url: new URL('rapid-client.js', import.meta.url).href, shortCircuit: true }
      : nextResolve(specifier, context),
});

// It exports nothing: it runs.
await import('aws-lambda-ric');
