/** The formats of the senders' deliveries. Used fields are parsed strictly; all other fields are ignored. */
import { invalid } from '../core/failure.ts';
import { defined } from '../core/defined.ts';
import { isDigest } from '../oci/digest.ts';
import type { Place } from '../oci/document.ts';
import { manifestKind } from '../oci/mediatype.ts';
import { formatRepository, isTag, parseReference, parseRepository, type Repository } from '../oci/reference.ts';
import { show } from '../oci/show.ts';
import { type Delivery, MAX_PUSHED, type Pushed, type Sender } from './delivery.ts';
import { largest } from '../core/extremes.ts';

export interface Shape {
  readonly sender: Sender;
  readonly recognises: (document: Place, headers: Delivery['headers']) => boolean;
  /**
   * The pushes, or the reason why the delivery is ignored.
   *
   * @throws {Failure} with side `input` for an invalid document
   */
  readonly read: (document: Place, headers: Delivery['headers']) => readonly Pushed[] | string;
  /** The time of the delivery in milliseconds since the epoch, if the signature covers it. */
  readonly signedTime?: (document: Place, headers: Delivery['headers']) => number | undefined;
}

/** https://docs.github.com/en/webhooks/webhook-events-and-payloads#registry_package */
const github: Shape = {
  sender: 'github',
  recognises: (_, headers) => headers['x-github-event'] !== undefined,
  read: (document, headers) => {
    const event = headers['x-github-event'] ?? '';
    if (event !== 'registry_package' && event !== 'package')
      return `GitHub's event ${show(event)} is not about a package`;
    const action = document.at('action').text();
    if (action !== 'published' && action !== 'updated') return `a package was ${show(action)}`;
    const version = document.at(event).at('package_version');
    if (!version.given || !version.at('container_metadata').given) return 'the package is not a container image';
    const name = repositoryIn(version.at('package_url').text());
    const tag = version.at('container_metadata').at('tag');
    if (!tag.given) return 'the image has no tag';
    return [pushed(parseRepository(name), tag.at('name').optionalText(), tag.at('digest').optionalText())];
  },
  signedTime: (document, headers) => {
    const item = document.at(headers['x-github-event'] ?? '');
    if (!item.given) return undefined;
    const version = item.at('package_version');
    const texts = [item, ...(version.given ? [version] : [])].map((place) => place.at('updated_at').optionalText());
    const times = texts.map((text) => Date.parse(text ?? '')).filter((time) => !Number.isNaN(time));
    return times.length === 0 ? undefined : largest(times);
  },
};

/** The repository of `ghcr.io/Owner/name:tag`; the tag may be empty. */
function repositoryIn(url: string): string {
  const [name = ''] = url.toLowerCase().split('@', 1);
  const colon = name.indexOf(':', name.lastIndexOf('/') + 1);
  return colon < 0 ? name : name.slice(0, colon);
}

/** https://docs.docker.com/docker-hub/repos/manage/webhooks/; `callback_url` is never called, because it may be any URL. */
const dockerhub: Shape = {
  sender: 'dockerhub',
  recognises: (document) => has(document, 'push_data', 'repository'),
  read: (document) => {
    const name = document.at('repository').at('repo_name').text();
    return [pushed(parseRepository(`docker.io/${name}`), document.at('push_data').at('tag').optionalText())];
  },
};

/** https://docs.quay.io/guides/notifications.html, "Repository Push"; its other notifications have no `updated_tags`. */
const quay: Shape = {
  sender: 'quay',
  recognises: (document) => has(document, 'docker_url', 'homepage'),
  read: (document) => {
    const tags = document.at('updated_tags').optionalList(MAX_PUSHED);
    if (tags === undefined) return 'the notification is not about a push';
    const repository = parseRepository(document.at('docker_url').text());
    return tags.map((tag) => pushed(repository, tag.text()));
  },
};

/** https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/, both formats. */
const harbor: Shape = {
  sender: 'harbor',
  recognises: (document) => has(document, 'type', 'event_data') || has(document, 'type', 'specversion', 'data'),
  read: (document) => {
    const type = document.at('type').text();
    if (type !== 'PUSH_ARTIFACT' && type !== 'harbor.artifact.pushed')
      return `Harbor's event ${show(type)} is not a push`;
    const data = document.at('specversion').given ? document.at('data') : document.at('event_data');
    return data
      .at('resources')
      .list(MAX_PUSHED)
      .map((resource) => {
        const { host, path } = parseReference(resource.at('resource_url').text());
        const tag = resource.at('tag').optionalText();
        const digest = resource.at('digest').optionalText();
        // After a push by digest, the tag is the digest.
        return pushed({ host, path }, tag !== undefined && isDigest(tag) ? undefined : tag, digest);
      });
  },
};

/** https://distribution.github.io/distribution/about/notifications/ */
const distribution: Shape = {
  sender: 'distribution',
  recognises: (document) => has(document, 'events'),
  read: (document) => {
    const pushes = document
      .at('events')
      .list(MAX_PUSHED)
      .filter((event) => event.at('action').text() === 'push')
      // The events of layers have other media types.
      .filter((event) => manifestKind(event.at('target').at('mediaType').optionalText() ?? '') !== undefined);
    if (pushes.length === 0) return 'the delivery has no push of a manifest';
    return pushes.map((event) => {
      const target = event.at('target');
      const repository = parseRepository(`${hostOf(event)}/${target.at('repository').text()}`);
      return pushed(repository, target.at('tag').optionalText(), target.at('digest').optionalText());
    });
  },
};

/** The formats in the order of detection; GitHub identifies itself in a header. */
export const SHAPES: readonly Shape[] = [github, dockerhub, quay, harbor, distribution];

/** The registry's host in its own URL, or else in the request of the push. */
function hostOf(event: Place): string {
  const url = event.at('target').at('url').optionalText();
  if (url === undefined) return event.at('request').at('host').text();
  if (!URL.canParse(url))
    throw event
      .at('target')
      .at('url')
      .fail(`${show(url)} is not a URL`);
  return new URL(url).host;
}

function has(document: Place, ...keys: readonly string[]): boolean {
  return keys.every((key) => document.at(key).given);
}

/** An invalid digest is dropped, because it is only logged and senders may shorten it. */
export function pushed(repository: Repository, tag?: string, digest?: string): Pushed {
  if (tag !== undefined && !isTag(tag)) throw invalid('read push', `invalid tag ${show(tag)}`);
  return defined({
    repository: formatRepository(repository),
    tag,
    digest: digest !== undefined && isDigest(digest) ? digest : undefined,
  });
}
