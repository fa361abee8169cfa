/**
 * A small ustar writer (POSIX.1-2017, pax; only the features that layers need): real archives that real tools unpack.
 */

export interface TarEntry {
  /** Relative, `/`-separated; a directory's may end with `/`. Whiteouts are files: `etc/.wh.hosts`. */
  readonly path: string;
  /** A file's content; a file without it is empty. */
  readonly content?: Uint8Array | string;
  readonly type?: 'file' | 'directory' | 'symlink' | 'hardlink';
  /** The target of a link. */
  readonly target?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds since the epoch. */
  readonly mtime?: number;
}

const BLOCK = 512;
const TYPE_FLAGS = { file: '0', hardlink: '1', symlink: '2', directory: '5' } as const;

/** The archive, with its two blocks of zeros at the end. */
export function tar(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.flatMap(entryBlocks), Buffer.alloc(2 * BLOCK)]);
}

function entryBlocks(entry: TarEntry): Buffer[] {
  const type = entry.type ?? 'file';
  const content = Buffer.from(entry.content ?? '');
  const path = type === 'directory' && !entry.path.endsWith('/') ? `${entry.path}/` : entry.path;
  const target = entry.target ?? '';
  const extended = [
    ...(fits(path) ? [] : [paxRecord('path', path)]),
    ...(fits(target) ? [] : [paxRecord('linkpath', target)]),
  ];
  const pax = Buffer.from(extended.join(''));
  const paxBlocks = pax.length === 0 ? [] : [header('PaxHeaders/entry', 'x', pax.length, {}), ...padded(pax)];
  const fields = { mode: type === 'directory' ? 0o755 : 0o644, ...entry, target };
  return [...paxBlocks, header(path, TYPE_FLAGS[type], content.length, fields), ...padded(content)];
}

/** Long and non-ASCII names are in a pax record; the name in the header is then only a fallback. */
function fits(name: string): boolean {
  return name.length <= 100 && /^[\x20-\x7e]*$/.test(name);
}

function header(
  path: string,
  flag: string,
  size: number,
  fields: { mode?: number; uid?: number; gid?: number; mtime?: number; target?: string },
): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, width: number): void => {
    block.write(`${value.toString(8).padStart(width - 1, '0')}\0`, at, 'latin1');
  };
  block.write(path, 0, 100, 'utf8');
  octal(fields.mode ?? 0o644, 100, 8);
  octal(fields.uid ?? 0, 108, 8);
  octal(fields.gid ?? 0, 116, 8);
  octal(size, 124, 12);
  octal(fields.mtime ?? 0, 136, 12);
  block.write(' '.repeat(8), 148, 'latin1');
  block.write(flag, 156, 'latin1');
  block.write(fields.target ?? '', 157, 100, 'utf8');
  block.write('ustar\u000000', 257, 'latin1');
  // The checksum is the sum of all bytes, its own field taken as spaces.
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** `LENGTH key=value\n`, where LENGTH counts its own digits. */
function paxRecord(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + String(rest).length;
  if (String(length).length !== String(rest).length) length = rest + String(length).length;
  return `${length} ${key}=${value}\n`;
}

function padded(content: Buffer): Buffer[] {
  const rest = content.length % BLOCK;
  return rest === 0 ? [content] : [content, Buffer.alloc(BLOCK - rest)];
}
