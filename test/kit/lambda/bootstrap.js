/**
 * Starts the real Lambda runtime for Node.js, aws-lambda-ric, with rapid-client.js in place of its native module. In plain
 * JavaScript, so that what a cold start takes is not time in which types are stripped.
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
