/** The parts of a server on this machine. One import loads them, and only the command that needs them. */
export { Fill } from './fill.ts';
export { HtpasswdLogins } from './htpasswd-logins.ts';
export { listen } from './listen.ts';
export { Metrics } from './metrics.ts';
export { Registry } from './registry.ts';
