import { invalid } from '../core/failure.ts';
import { printable } from '../oci/show.ts';
import type * as Library from './sigstore.ts';

/**
 * Loads Sigstore's library on demand, and checks a trusted root with it.
 *
 * @throws {Failure} `invalid`
 */
export async function libraryWith(trustedRoot: Uint8Array, operation = 'read trusted root'): Promise<typeof Library> {
  const library = await import('./sigstore.ts');
  try {
    library.parseTrustedRoot(trustedRoot);
    return library;
  } catch (thrown) {
    throw invalid(operation, printable((thrown as Error).message));
  }
}
