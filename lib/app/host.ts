/** What a program that runs mirror-sync gives it, so that a test can replace it. */
export interface Host {
  /** Environment variables: credentials, proxies, S3. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted when the work is to stop. */
  readonly signal: AbortSignal;
  /** `process.platform` */
  readonly platform?: NodeJS.Platform;
}
