/** The parts of a server on this machine, in one module that only the command `serve` loads. */
export { Fill } from './fill.ts';
export { HtpasswdLogins } from './htpasswd-logins.ts';
export { listen } from './listen.ts';
export { Metrics } from './metrics.ts';
export { Registry } from './registry.ts';
