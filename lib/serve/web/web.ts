/** Pages for browsers. An image's page has the address of the image: `/docker.io/library/alpine:3.20`. */
import type { Archive } from '../../archive/archive.ts';
import { basicAsOfTime } from '../../core/as-of.ts';
import { show } from '../../oci/show.ts';
import { RegistryError } from '../errors.ts';
import type { Manifests } from '../manifests.ts';
import type { Repositories } from '../repositories.ts';
import type { PageRoute } from '../routes.ts';
import type { Context } from './context.ts';
import { errorPage, type Page, PAGE_HEADERS, pageResponse, prefixOf } from './document.ts';
import { homePage } from './home.ts';
import { imagePage } from './image.ts';
import { Outlines } from './outlines.ts';
import { addressOf } from './pull.ts';
import { repositoryPage } from './repository.ts';

export interface WebOptions {
  readonly archive: Archive;
  readonly repositories: Repositories;
  readonly manifests: Manifests;
  /** The time of the state on pages whose address contains no time. */
  readonly asOf: number | undefined;
  readonly needsLogin: boolean;
  readonly onFault: (text: string) => void;
}

export class Web {
  readonly #context: Context;
  readonly #asOf: number | undefined;

  constructor(options: WebOptions) {
    this.#context = { ...options, outlines: new Outlines(options.archive) };
    this.#asOf = options.asOf;
  }

  /** @throws RegistryError for a page about something that the archive lacks */
  async answer(request: Request, route: PageRoute): Promise<Response> {
    const day = route.parameters.get('at');
    if (day !== null) return redirect(`${prefixOf(endOf(day))}${route.address}`);
    return pageResponse(request, await this.#page(request, route));
  }

  async #page(request: Request, route: PageRoute): Promise<Page> {
    const { signal } = request;
    const { image, parameters } = route;
    const asOf = route.asOf ?? this.#asOf;
    if (image === undefined) return await homePage(this.#context, { asOf, parameters, signal });
    const { tag, digest } = image;
    const repository = await this.#context.repositories.find(image, signal);
    if (tag === undefined && digest === undefined)
      return await repositoryPage(this.#context, { repository, asOf, parameters, signal });
    const address = addressOf(request);
    return await imagePage(this.#context, { repository, tag, digest, asOf, parameters, address, signal });
  }
}

/** An error as a page. */
export function webError(request: Request, error: RegistryError): Response {
  const bytes = Buffer.from(errorPage(error));
  return new Response(request.method === 'HEAD' ? null : bytes, {
    status: error.status,
    headers: {
      ...PAGE_HEADERS,
      'content-length': String(bytes.length),
      'cache-control': 'no-store',
      ...error.headers,
    },
  });
}

/** The form sends a day, and the address of a page has it in its path. */
function redirect(location: string): Response {
  return new Response(null, { status: 303, headers: { location, 'cache-control': 'no-store' } });
}

function endOf(day: string): number | undefined {
  if (day === '') return undefined;
  const instant = /^\d{4}-\d\d-\d\d$/.test(day) ? basicAsOfTime(day.replaceAll('-', '')) : undefined;
  if (instant === undefined)
    throw new RegistryError(400, 'NAME_INVALID', `${show(day)} is not a day (expected 2026-01-31)`);
  return instant;
}
