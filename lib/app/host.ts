/** The environment that the calling program provides, so that a test can replace it. */
export interface Host {
  /** Environment variables: credentials, proxies, S3. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts the work. */
  readonly signal: AbortSignal;
  /** `process.platform` */
  readonly platform?: NodeJS.Platform;
}
