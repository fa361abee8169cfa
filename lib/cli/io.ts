/** What a command may touch of the world outside, so that tests can stand in for it. */
export interface Io {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted when the user wants it to stop. */
  readonly signal: AbortSignal;
}

export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

/** Exit codes, as documented in the README. */
export const EXIT = {
  ok: 0,
  /** Some image failed, or something in the archive is wrong. */
  failed: 1,
  usage: 2,
  /** Stopped by Ctrl-C (128 + SIGINT), as shells have it. */
  interrupted: 130,
} as const;
