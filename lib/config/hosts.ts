/** Hosts as `mirror.yaml` and the command line name them. */
import { invalid } from '../core/failure.ts';
import { parseRepository } from '../oci/reference.ts';
import { show } from '../oci/show.ts';

/** A host, with or without a port, or `*.` and a domain. */
export function parseForeignHost(pattern: string): string {
  if (/^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?$/i.test(pattern)) return pattern.toLowerCase();
  throw invalid(
    `parse host ${show(pattern)}`,
    'write a host such as mcr.microsoft.com, or *.example.com for all below it',
  );
}

/** A host in the form of references, so that a lookup by a reference finds its settings. */
export function parseHost(name: string): string {
  if (name.includes('://'))
    throw invalid(`parse host ${show(name)}`, 'write the host without a scheme, such as registry.example.com:5000');
  const { host: parsed } = parseRepository(`${name}/any/repository`);
  if (parsed === name) return name;
  throw invalid(
    `parse host ${show(name)}`,
    parsed === 'docker.io' && !name.toLowerCase().includes('docker')
      ? 'not a registry host (expected a dot, a port, or localhost)'
      : `write ${parsed}, as references name it`,
  );
}

/** The address of a registry for the client: a host, or an origin with its scheme. */
export function parseEndpoint(name: string): string {
  const operation = `parse endpoint ${show(name)}`;
  const [, scheme, rest = ''] = /^(https?:\/\/)(.*)$/.exec(name) ?? [];
  if (scheme === undefined && name.includes('://'))
    throw invalid(operation, 'its scheme is neither http:// nor https://');
  const bare = scheme === undefined ? name : rest;
  if (/[/?#@\s]/.test(bare)) throw invalid(operation, 'expected a host, or http(s)://host, without a path');
  // The network's name for Docker Hub is accepted like its own.
  if (bare !== 'registry-1.docker.io') parseHost(bare);
  return name;
}
