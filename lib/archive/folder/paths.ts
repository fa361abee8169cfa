/**
 * Where things are in an archive's folder. An object is the file that its key names; what the store itself needs is
 * beside them under `.mirror/`, out of reach of every key:
 *
 * ```
 * .mirror/lock             taken for every change of what a key names: see lock.ts
 * .mirror/tmp/<id>         on its way in or out; what a killed process left there goes after a day
 * .mirror/uploads/<id>/    one unfinished upload: see uploads.ts
 * ```
 */
import { join, resolve } from 'node:path';
import { refuse } from './errors.ts';

const OWN = ['.mirror/lock', '.mirror/tmp', '.mirror/uploads'];

export class Paths {
  readonly root: string;
  readonly lock: string;
  readonly temporary: string;
  readonly uploads: string;

  constructor(root: string) {
    this.root = resolve(root);
    this.lock = join(this.root, '.mirror/lock');
    this.temporary = join(this.root, '.mirror/tmp');
    this.uploads = join(this.root, '.mirror/uploads');
  }

  /** @throws Failure `invalid` for a key that names nothing inside the archive, or what is the store's own */
  object(key: string): string {
    const wrong = /[\\\0]/.test(key) || key.split('/').some((part) => part === '' || part === '.' || part === '..');
    if (wrong) throw refuse(`look up key ${JSON.stringify(key)}`, 'invalid', 'it is no path below the archive');
    if (this.isOwn(key)) throw refuse(`look up key ${key}`, 'invalid', 'the folder store needs that place for itself');
    return join(this.root, key);
  }

  isOwn(key: string): boolean {
    return OWN.some((own) => key === own || key.startsWith(`${own}/`));
  }
}
