/** A proxy for requests to other machines: its address for each scheme, and the hosts that are reached without it. */
export interface Proxy {
  /** `http://user:password@proxy.example:3128` */
  readonly http?: string | undefined;
  readonly https?: string | undefined;
  /** Host names and domain suffixes with commas, or `*`. */
  readonly except?: string | undefined;
}

/**
 * The proxy that the environment names, as curl, Docker and Go read it: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, the lower
 * case first.
 */
export function proxyFrom(env: Readonly<Record<string, string | undefined>>): Proxy | undefined {
  const read = (name: string): string | undefined => env[name.toLowerCase()] || env[name] || undefined;
  const [http, https] = [read('HTTP_PROXY'), read('HTTPS_PROXY')];
  return http === undefined && https === undefined ? undefined : { http, https, except: read('NO_PROXY') };
}
