import { invalid } from '../../core/failure.ts';
import { type Client, inNames, isPlain } from './client.ts';

/** https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file */
export const docker: Client = ({ registry, hosts, exclusive }) => {
  const { origin, host } = registry;
  if (exclusive)
    throw invalid(
      'mirror-sync client-config',
      'docker has no --exclusive: dockerd asks Docker Hub for an image that its mirror lacks; block Docker Hub in the network',
    );
  const settings = {
    'registry-mirrors': [origin],
    // For images that are pulled by the name of the archive.
    ...(isPlain(registry) ? { 'insecure-registries': [host] } : {}),
  };
  const text = `${JSON.stringify(settings, undefined, 2)}\n`;
  const other = hosts.find((each) => each !== 'docker.io');
  return {
    files: [{ path: '/etc/docker/daemon.json', name: 'daemon.json', text, hasComments: false }],
    notes: [
      'add these settings to an existing daemon.json, and reload dockerd (systemctl reload docker)',
      'registry-mirrors covers docker.io only, and takes no path' +
        (other === undefined
          ? ''
          : `; pull images of other registries by name, as in docker pull ${host}/${inNames(other)}/…`),
      'dockerd sends a mirror neither the host nor credentials: start mirror-sync serve with --default-host docker.io and without --htpasswd',
      ...(hosts.includes('docker.io') ? [] : ['the archive has no image of docker.io']),
    ],
  };
};
