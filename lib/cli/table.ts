/** All commands. */
import type { Command } from './command.ts';
import { check } from './commands/check.ts';
import { clientConfig } from './commands/client-config.ts';
import { completion } from './commands/completion.ts';
import { convert } from './commands/convert.ts';
import { reject, release } from './commands/decide.ts';
import { history } from './commands/history.ts';
import { ls } from './commands/ls.ts';
import { serve } from './commands/serve.ts';
import { status } from './commands/status.ts';
import { sync } from './commands/sync.ts';
import { verify } from './commands/verify.ts';

export const COMMANDS: readonly Command[] = [
  sync,
  check,
  ls,
  history,
  serve,
  clientConfig,
  verify,
  release,
  reject,
  convert,
  status,
  completion(() => COMMANDS),
];
